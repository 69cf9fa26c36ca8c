"""The bundled table: dated, Linux, and unknown where it says nothing."""

from __future__ import annotations

from importlib.resources import files

from holdfast.market.observing.ondemand import DATED, bundled_on_demand


def test_on_demand_prices_of_a_region_are_dated_and_spot_stays_unknown():
    book = bundled_on_demand("westeurope")

    assert len(book.on_demand) > 500
    assert 0.01 < (book.on_demand_per_hour("Standard_D4s_v5") or 0) < 1.0
    assert book.spot_per_hour("Standard_D4s_v5") is None
    assert book.spot_priced is None
    assert book.dated == DATED


def test_windows_and_unknown_regions_have_no_prices_rather_than_zero():
    assert bundled_on_demand("westeurope", "windows").on_demand_per_hour("Standard_D4s_v5") is None
    assert bundled_on_demand("atlantis").dated == "unknown"


def test_notice_and_licence_lie_beside_the_table():
    folder = files("holdfast.market.observing.ondemand")

    assert "karpenter-provider-azure" in folder.joinpath("NOTICE").read_text()
    assert "Apache License" in folder.joinpath("LICENSE").read_text()
