"""Read Azure's compute usages into free quota. The only file that knows the names of that answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes.judging import Quota

__all__ = ["quota_from_azure_usages", "quota_of"]


def quota_of(usages: Iterable[tuple[str, int, int]]) -> Quota:
    """From (name, used, limit): `lowPriorityCores` is spot's, `cores` the region's, `…Family` on-demand's.

    https://learn.microsoft.com/rest/api/compute/usage/list. What was not sent is unknown, which refuses nothing.
    """
    free = {name.lower(): max(0, limit - used) for name, used, limit in usages}
    return Quota(
        spot_free=free.get("lowprioritycores"),
        regional_free=free.get("cores"),
        family_free={name: left for name, left in free.items() if name.endswith("family")},
    )


def quota_from_azure_usages(answer: Any) -> Quota:
    """The REST body (`{"value": […]}`) or the bare list that `az vm list-usage -o json` prints, numbers as text too."""
    items = answer.get("value") if isinstance(answer, Mapping) else answer
    if not isinstance(items, list):
        raise InvalidInput(field="usages", problem="expected a list of usages or an object with a list named value")
    return quota_of((str(i["name"]["value"]), int(i["currentValue"]), int(i["limit"])) for i in items)
