"""Which sizes can this machine run on: facts in, a funnel out. Pure; knows no cloud but through `azure_skus`.

Start with `funnel.qualify`. A `Size` is what the cloud says about a size, `MachineTraits` is what the machine's disks,
network and security ask of it, a `SizeWish` is what the user asks. Each file in `rules/` is one rule of
`docs/market.md`; `rules.RULES` is their order, which is also the order of the funnel.
"""

from holdfast.market.deciding.sizes.azure_skus import size_from_azure_sku, sizes_from_azure_skus
from holdfast.market.deciding.sizes.azure_traits import traits_of
from holdfast.market.deciding.sizes.funnel import Funnel, NoSizeMatches, Qualified, Refused, qualify, require_some
from holdfast.market.deciding.sizes.judging import Priority, Quota
from holdfast.market.deciding.sizes.prices import PriceBook, PricedSize, price_table
from holdfast.market.deciding.sizes.size import Size, TempDisk
from holdfast.market.deciding.sizes.traits import MachineTraits
from holdfast.market.deciding.sizes.wish import SizeWish, same_attributes

__all__ = [
    "Funnel",
    "MachineTraits",
    "NoSizeMatches",
    "PriceBook",
    "PricedSize",
    "Priority",
    "Qualified",
    "Quota",
    "Refused",
    "Size",
    "SizeWish",
    "TempDisk",
    "price_table",
    "qualify",
    "require_some",
    "same_attributes",
    "size_from_azure_sku",
    "sizes_from_azure_skus",
    "traits_of",
]
