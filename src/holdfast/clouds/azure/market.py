"""Prices and quota. Prices come from a retail price list that needs no credential, and gets none from us."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from holdfast.clouds.azure import versions
from holdfast.clouds.azure.arm import Arm
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.azure.keeping import Kept
from holdfast.clouds.errors import CloudUnavailable
from holdfast.clouds.protocols import Headroom, Price
from holdfast.core.clock import Clock

__all__ = ["Market", "prices_in"]

_KEPT = timedelta(hours=1)  # retail prices change a few times a month, Spot's a few times a day
_PAGES = 400  # a list that never ends is not a price list; a region has about 40 pages of 100
_TRIES = 3


class Market:
    def __init__(self, connection: AzureConnection, arm: Arm, clock: Clock) -> None:
        self._connection = connection
        self._arm = arm
        self._clock = clock
        self._kept: Kept[tuple[Price, ...]] = Kept(clock, _KEPT)

    def prices(self, location: str) -> tuple[Price, ...]:
        """Raises CloudUnavailable when the price list does not answer."""
        if self._connection.prices_endpoint is None:
            return ()
        region = location.lower().replace(" ", "")
        return self._kept.get(region, lambda: tuple(prices_in(self._items(region), self._clock.now())))

    def headroom(self, location: str) -> tuple[Headroom, ...]:
        region = quote(location.lower().replace(" ", ""), safe="")
        scope = f"{self._arm.subscription_path}/providers/Microsoft.Compute/locations/{region}"
        return tuple(
            Headroom(str(item["name"]["value"]), int(item["currentValue"]), int(item["limit"]))
            for item in self._arm.pages(f"{scope}/usages?api-version={versions.USAGES}")
        )

    def _items(self, region: str) -> Iterator[Mapping[str, Any]]:
        endpoint = str(self._connection.prices_endpoint).rstrip("/")
        if urlsplit(endpoint).path in ("", "/"):
            endpoint += "/api/retail/prices"
        # Filter values are case-sensitive here, unlike anywhere else in Azure.
        wanted = f"serviceName eq 'Virtual Machines' and armRegionName eq '{region}'"
        url: str | None = f"{endpoint}?api-version={versions.PRICES}&$filter={quote(wanted)}"
        for _ in range(_PAGES):
            if not url:
                return
            page = self._page(url)
            yield from page.get("Items") or ()
            url = page.get("NextPageLink")

    def _page(self, url: str) -> Mapping[str, Any]:
        problem = ""
        for attempt in range(_TRIES):
            try:
                with self._opener().open(Request(url, headers={"Accept": "application/json"}), timeout=30) as answer:
                    page: Mapping[str, Any] = json.loads(answer.read())
                    return page
            except HTTPError as exc:
                problem = f"HTTP status {exc.code}"
                exc.close()
                if exc.code != 429 and exc.code < 500:
                    break
            except (URLError, OSError, ValueError) as exc:
                problem = str(exc)
            self._clock.sleep(self._arm.first_wait_s * 2**attempt)
        raise CloudUnavailable(cloud_code="PricesUnavailable", message=f"the price list: {problem}", ref=url)

    def _opener(self) -> Any:
        context = ssl.create_default_context(cafile=self._connection.ca_file)
        handlers: list[Any] = [HTTPSHandler(context=context)]
        if self._connection.is_loopback:
            handlers.append(ProxyHandler({}))
        return build_opener(*handlers)


def prices_in(items: Iterable[Mapping[str, Any]], read_at: datetime) -> Iterator[Price]:
    """Hourly prices of virtual machines in a retail price list.

    Spot, and Windows, are told only by names (azure.md 6d). Left out: Low Priority (Spot's forerunner, not for single
    machines), reservations, dev/test prices, dedicated hosts and cloud services, which share the size names.
    """
    for item in items:
        names = f"{item.get('skuName', '')} {item.get('meterName', '')}"
        product = str(item.get("productName", ""))
        if item.get("serviceName") != "Virtual Machines" or item.get("type") != "Consumption":
            continue
        if not item.get("armSkuName") or item.get("unitOfMeasure") != "1 Hour" or item.get("currencyCode") != "USD":
            continue
        if "Low Priority" in names or "Cloud Services" in product or "Dedicated Host" in product:
            continue
        price = float(item.get("retailPrice") or 0.0)
        if price > 0:
            os = "Windows" if "Windows" in product else "Linux"
            yield Price(str(item["armSkuName"]), os, "Spot" in names, price, read_at)
