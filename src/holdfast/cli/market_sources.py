"""Where `holdfast market` reads what no file was given for: the connected cloud, through the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.cli.market import MarketSources
    from holdfast.cli.shared import Terminal

__all__ = ["market_sources"]


def market_sources(terminal: Terminal) -> MarketSources:
    """Asks nothing until it is asked: a replay needs no server."""
    from holdfast.cli.market import HistoryWish, MachineFacts, MarketSources
    from holdfast.cli.tables import address
    from holdfast.core.errors import NotFound
    from holdfast.market.deciding.sizes import PriceBook, Quota, Size, sizes_from_azure_skus, traits_of
    from holdfast.market.deciding.sizes.azure_quota import quota_of

    def only_cloud() -> str:
        from holdfast.core.errors import InvalidInput

        found = terminal.client.get("/v1/clouds")
        if len(found) != 1:
            raise InvalidInput(field="cloud", problem="this needs exactly one connected cloud")
        return str(found[0]["name"])

    def sizes(region: str) -> list[Size]:
        found: list[Any] = terminal.client.get(f"/v1/clouds/{only_cloud()}/sizes", location=region)
        return sizes_from_azure_skus(found, region)

    def prices(region: str, os: str) -> PriceBook:
        spot: dict[str, float] = {}
        regular: dict[str, float] = {}
        dated = ""
        for price in terminal.client.get(f"/v1/clouds/{only_cloud()}/prices", location=region):
            if price["os"].lower() == os.lower():
                (spot if price["spot"] else regular)[price["size"].lower()] = price["usd_per_hour"]
                dated = max(dated, price["read_at"][:10])
        return PriceBook(spot, regular, dated or "unknown")

    def quota(region: str) -> Quota:
        found = terminal.client.get(f"/v1/clouds/{only_cloud()}/quota", location=region)
        return quota_of((entry["name"], entry["used"], entry["limit"]) for entry in found)

    def machine(text: str) -> MachineFacts:
        """By the documents that an import's plan holds, so that both judge alike."""
        group, name = address(text)
        plan = terminal.client.post("/v1/imports/plan", {"machine": f"{group}/{name}"})
        facts = plan["facts"]
        vm = {"name": name, **facts["machine"]["body"]}
        own_name = str(vm["properties"]["hardwareProfile"]["vmSize"])
        own = next((size for size in sizes(plan["location"]) if size.name.lower() == own_name.lower()), None)
        if own is None:
            raise NotFound(kind="size", name=own_name)
        disks = [{"id": disk["document"]["ref"], **disk["document"]["body"]} for disk in facts["disks"]
                 if disk["document"]]  # fmt: skip
        nics = [{"id": nic["ref"], **nic["body"]} for nic in facts["nics"]]
        return MachineFacts(traits=traits_of(vm, disks, nics, own), own=own)

    def history(wanted: HistoryWish) -> list[dict[str, Any]]:
        told = terminal.client.get("/v1/market/history", **{k: v for k, v in vars(wanted).items() if v is not None})
        rows: list[dict[str, Any]] = told["rows"]
        return rows

    def signals() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = terminal.client.get("/v1/market/signals")
        return told

    def tell(cloud: str | None, words: list[Any]) -> int:
        body = {"cloud": cloud or only_cloud(), "words": words}
        return int(terminal.client.post("/v1/market/words", body)["noted"])

    return MarketSources(machine=machine, sizes=sizes, prices=prices, history=history, signals=signals, tell=tell)
