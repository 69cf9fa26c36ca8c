"""Marketplace images: az's aliases, inference from names, and what is unknown."""

from __future__ import annotations

import pytest

from azurelab.compute.marketplace import find_image

ALIASES = """
Canonical 0001-com-ubuntu-server-jammy 22_04-lts-gen2 Linux V2
Debian debian-11 11-backports-gen2 Linux V2
microsoftazurelinux azurelinux-4 4 Linux V2
microsoftazurelinux azurelinux-4 4-gen1 Linux V1
microsoftazurelinux azurelinux-4 4-arm64 Linux V2
OpenLogic CentOS 8_5-gen2 Linux V2
kinvolk flatcar-container-linux-free stable-gen2 Linux V2
SUSE openSUSE-leap-15-4 gen2 Linux V2
RedHat RHEL 8-lvm-gen2 Linux V2
SUSE sles-15-sp3 gen2 Linux V2
MicrosoftWindowsServer WindowsServer 2022-datacenter-g2 Windows V2
MicrosoftWindowsServer WindowsServer 2022-datacenter-azure-edition-core Windows V2
MicrosoftWindowsServer WindowsServer 2019-datacenter-gensecond Windows V2
MicrosoftWindowsServer WindowsServer 2016-datacenter-gensecond Windows V2
MicrosoftWindowsServer WindowsServer 2012-R2-Datacenter Windows V1
MicrosoftWindowsServer WindowsServer 2012-Datacenter Windows V1
"""


@pytest.mark.parametrize("line", ALIASES.strip().splitlines())
def test_every_alias_of_az_has_an_image_of_the_right_kind(line: str) -> None:
    publisher, offer, sku, os_type, generation = line.split()

    image = find_image(publisher.upper(), offer, sku, "latest")

    assert image is not None
    assert (image.publisher, image.os_type, image.hyper_v_generation) == (publisher, os_type, generation)
    assert image.version != "latest"


def test_other_offers_of_known_publishers_exist_and_unknown_publishers_do_not() -> None:
    assert find_image("Canonical", "UbuntuServer", "14.04.5-LTS", "latest") is not None
    assert find_image("nobody", "o", "s", "latest") is None
