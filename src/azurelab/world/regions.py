"""Azure's regions: names, display names, zones, pairs. Facts from the vendor's public list of regions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["REGIONS", "Region", "Regions"]


@dataclass(frozen=True, slots=True)
class Region:
    """`zones`: how many availability zones the region has (0 or 3)."""

    name: str
    display: str
    geography: str
    group: str
    zones: int
    pair: str
    latitude: str
    longitude: str
    physical: str


def _r(line: str) -> Region:
    name, display, geography, group, zones, pair, lat, lon, physical = (w.strip() for w in line.split("|"))
    return Region(name, display, geography, group, int(zones), pair, lat, lon, physical)


REGIONS: tuple[Region, ...] = tuple(
    _r(line)
    for line in """
eastus | East US | United States | US | 3 | westus | 37.3719 | -79.8164 | Virginia
eastus2 | East US 2 | United States | US | 3 | centralus | 36.6681 | -78.3889 | Virginia
southcentralus | South Central US | United States | US | 3 | northcentralus | 29.4167 | -98.5 | Texas
westus2 | West US 2 | United States | US | 3 | westcentralus | 47.233 | -119.852 | Washington
westus3 | West US 3 | United States | US | 3 | eastus | 33.448376 | -112.074036 | Phoenix
australiaeast | Australia East | Australia | Asia Pacific | 3 | australiasoutheast | -33.86 | 151.2094 | New South Wales
southeastasia | Southeast Asia | Asia Pacific | Asia Pacific | 3 | eastasia | 1.283 | 103.833 | Singapore
northeurope | North Europe | Europe | Europe | 3 | westeurope | 53.3478 | -6.2597 | Ireland
swedencentral | Sweden Central | Sweden | Europe | 3 | swedensouth | 60.67488 | 17.14127 | Gävle
uksouth | UK South | United Kingdom | Europe | 3 | ukwest | 50.941 | -0.799 | London
westeurope | West Europe | Europe | Europe | 3 | northeurope | 52.3667 | 4.9 | Netherlands
centralus | Central US | United States | US | 3 | eastus2 | 41.5908 | -93.6208 | Iowa
southafricanorth | South Africa North | South Africa | Africa | 3 | southafricawest | -25.7 | 28.21837 | Johannesburg
centralindia | Central India | India | Asia Pacific | 3 | southindia | 18.5822 | 73.9197 | Pune
eastasia | East Asia | Asia Pacific | Asia Pacific | 3 | southeastasia | 22.267 | 114.188 | Hong Kong
japaneast | Japan East | Japan | Asia Pacific | 3 | japanwest | 35.68 | 139.77 | Tokyo, Saitama
koreacentral | Korea Central | Korea | Asia Pacific | 3 | koreasouth | 37.5665 | 126.978 | Seoul
newzealandnorth | New Zealand North | New Zealand | Asia Pacific | 3 |  | -36.84853 | 174.76349 | Auckland
canadacentral | Canada Central | Canada | Canada | 3 | canadaeast | 43.653 | -79.383 | Toronto
francecentral | France Central | France | Europe | 3 | francesouth | 46.3772 | 2.373 | Paris
germanywestcentral | Germany West Central | Germany | Europe | 3 | germanynorth | 50.110924 | 8.682127 | Frankfurt
italynorth | Italy North | Italy | Europe | 3 |  | 45.46888 | 9.18109 | Milan
norwayeast | Norway East | Norway | Europe | 3 | norwaywest | 59.913868 | 10.752245 | Norway
polandcentral | Poland Central | Poland | Europe | 3 |  | 52.23334 | 21.01666 | Warsaw
spaincentral | Spain Central | Spain | Europe | 3 |  | 40.4259 | 3.4209 | Madrid
switzerlandnorth | Switzerland North | Switzerland | Europe | 3 | switzerlandwest | 47.451542 | 8.564572 | Zurich
mexicocentral | Mexico Central | Mexico | Mexico | 3 |  | 20.588818 | -100.389888 | Querétaro
uaenorth | UAE North | UAE | Middle East | 3 | uaecentral | 25.266666 | 55.316666 | Dubai
brazilsouth | Brazil South | Brazil | South America | 3 | southcentralus | -23.55 | -46.633 | Sao Paulo State
israelcentral | Israel Central | Israel | Middle East | 3 |  | 31.2655698 | 33.4506633 | Israel
qatarcentral | Qatar Central | Qatar | Middle East | 3 |  | 25.551462 | 51.439327 | Doha
northcentralus | North Central US | United States | US | 0 | southcentralus | 41.8819 | -87.6278 | Illinois
westus | West US | United States | US | 0 | eastus | 37.783 | -122.417 | California
westcentralus | West Central US | United States | US | 0 | westus2 | 40.89 | -110.234 | Wyoming
japanwest | Japan West | Japan | Asia Pacific | 3 | japaneast | 34.6939 | 135.5022 | Osaka
canadaeast | Canada East | Canada | Canada | 0 | canadacentral | 46.817 | -71.217 | Quebec
australiasoutheast | Australia Southeast | Australia | Asia Pacific | 0 | australiaeast | -37.8136 | 144.9631 | Victoria
australiacentral | Australia Central | Australia | Asia Pacific | 0 | australiacentral2 | -35.3075 | 149.1244 | Canberra
southindia | South India | India | Asia Pacific | 0 | centralindia | 12.9822 | 80.1636 | Chennai
koreasouth | Korea South | Korea | Asia Pacific | 0 | koreacentral | 35.1796 | 129.0756 | Busan
ukwest | UK West | United Kingdom | Europe | 0 | uksouth | 53.427 | -3.084 | Cardiff
francesouth | France South | France | Europe | 0 | francecentral | 43.8345 | 2.1972 | Marseille
germanynorth | Germany North | Germany | Europe | 0 | germanywestcentral | 53.073635 | 8.806422 | Berlin
norwaywest | Norway West | Norway | Europe | 0 | norwayeast | 58.969975 | 5.733107 | Norway
switzerlandwest | Switzerland West | Switzerland | Europe | 0 | switzerlandnorth | 46.204391 | 6.143158 | Geneva
uaecentral | UAE Central | UAE | Middle East | 0 | uaenorth | 24.466667 | 54.366669 | Abu Dhabi
centraluseuap | Central US EUAP | Canary (US) | US | 3 | eastus2euap | 41.5908 | -93.6208 |
eastus2euap | East US 2 EUAP | Canary (US) | US | 3 | centraluseuap | 36.6681 | -78.3889 |
southafricawest | South Africa West | South Africa | Africa | 0 | southafricanorth | -34.075691 | 18.843266 | Cape Town
""".strip().splitlines()
)


class Regions:
    """Look-up by name or display name, without case and blanks."""

    def __init__(self) -> None:
        self._by_name = {r.name: r for r in REGIONS}

    def names(self) -> list[str]:
        return list(self._by_name)

    def get(self, name: str) -> Region | None:
        return self._by_name.get(name.replace(" ", "").lower())

    def normalise(self, name: str) -> str | None:
        """'West Europe' → 'westeurope'; None for what is no region. 'global' stays."""
        word = name.replace(" ", "").lower()
        return word if word in self._by_name or word == "global" else None
