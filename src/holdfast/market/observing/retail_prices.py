"""Read retail prices over HTTP from an endpoint that the user names; there is no default host.

The answer is Azure's (https://learn.microsoft.com/rest/api/cost-management/retail-prices): pages of `Items` linked by
`NextPageLink`. Prices are per region, not per zone.
"""

from __future__ import annotations

from typing import Any

import httpx

from holdfast.core.errors import HoldfastError, Retry
from holdfast.market.deciding.sizes.prices import PriceBook, from_retail_items

__all__ = ["PricesUnreadable", "fetch_price_book"]

PATH = "/api/retail/prices"
# Azure sends 100 (later 1,000) items per page and about 5,000 meters of virtual machines per region. Halved, a large
# region could be cut short; doubled, an endpoint that links in a circle is noticed later.
MOST_PAGES = 200


class PricesUnreadable(HoldfastError):
    """The price endpoint did not give prices."""

    code, retry, exit_code, http_status = "market.prices_unreadable", Retry.LATER, 1, 502
    field = "prices"
    text = "{endpoint}: {problem}"
    remedy = "Check the endpoint; without it prices show as unknown and everything else still works."


def fetch_price_book(client: httpx.Client, endpoint: str, location: str, operating_system: str = "linux") -> PriceBook:
    """All pages for a region's virtual machines. Raises PricesUnreadable; follows links to the same host only."""
    start = httpx.URL(endpoint)
    if start.path in ("", "/"):
        start = start.copy_with(path=PATH)
    place = location.replace(" ", "").lower()
    query = f"serviceName eq 'Virtual Machines' and armRegionName eq '{place}' and priceType eq 'Consumption'"
    url: httpx.URL | None = start.copy_merge_params({"$filter": query})
    items: list[Any] = []
    for _ in range(MOST_PAGES):
        if url is None:
            return from_retail_items(items, location, operating_system)
        page = _page(client, url, endpoint)
        items += page["Items"]
        link = page.get("NextPageLink")
        url = httpx.URL(link) if link else None
        if url is not None and (url.host, url.port) != (start.host, start.port):
            raise PricesUnreadable(endpoint=endpoint, problem=f"a page links to another host ({url.host})")
    raise PricesUnreadable(endpoint=endpoint, problem=f"more than {MOST_PAGES} pages")


def _page(client: httpx.Client, url: httpx.URL, endpoint: str) -> dict[str, Any]:
    try:
        response = client.get(url)
        response.raise_for_status()
        body = response.json()
    except (httpx.HTTPError, ValueError) as exc:
        raise PricesUnreadable(endpoint=endpoint, problem=f"{type(exc).__name__}: {exc}") from exc
    if not isinstance(body, dict) or not isinstance(body.get("Items"), list):
        raise PricesUnreadable(endpoint=endpoint, problem="the answer has no list named Items")
    return body
