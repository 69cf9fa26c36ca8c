"""How a machine's identity passes to a successor on Azure: pure functions from facts to the documents to be created.

Nothing here talks to Azure. `successor(facts, wish)` composes every snapshot, disk, address, network card and the
machine itself; `recreated(facts)` composes the original again, for the ways back on which its object had to go.
"""

from holdfast.clouds.azure.succession.cards import CardWish
from holdfast.clouds.azure.succession.composing import Naming, Succession, SuccessionWish, successor
from holdfast.clouds.azure.succession.converting import (
    blobs_by_lun,
    blobs_of,
    converted,
    expected_after_conversion,
    expected_names,
)
from holdfast.clouds.azure.succession.machine import at_market, detach_parts, parts_of, recreated, restore_options
from holdfast.clouds.azure.succession.network import with_pools, without_pools

__all__ = [
    "CardWish",
    "Naming",
    "Succession",
    "SuccessionWish",
    "at_market",
    "blobs_by_lun",
    "blobs_of",
    "converted",
    "detach_parts",
    "expected_after_conversion",
    "expected_names",
    "parts_of",
    "recreated",
    "restore_options",
    "successor",
    "with_pools",
    "without_pools",
]
