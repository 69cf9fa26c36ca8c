"""`holdfast market` through Typer's runner: output and exit code together, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from holdfast.cli.market import MachineFacts, MarketSources, app
from holdfast.core.errors import NotFound
from holdfast.market.deciding.replay.generating import generate_pool
from holdfast.market.deciding.sizes import MachineTraits, PriceBook, Quota, size_from_azure_sku
from holdfast.market.observing.history import rows_of_pool, write_csv

runner = CliRunner(env={"COLUMNS": "200"})


def run(*arguments: object, sources: MarketSources | None = None) -> Result:
    return runner.invoke(app, [str(a) for a in arguments], obj=sources)


def sku(name: str, **changes: str) -> dict[str, Any]:
    told = {
        "vCPUs": "4",
        "MemoryGB": "16",
        "HyperVGenerations": "V1,V2",
        "LowPriorityCapable": "True",
        "PremiumIO": "True",
        "MaxResourceVolumeMB": "0",
        "MaxDataDiskCount": "8",
        "MaxNetworkInterfaces": "2",
        **changes,
    }
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": "f",
        "locations": ["westeurope"],
        "locationInfo": [{"location": "westeurope", "zones": ["1", "2", "3"]}],
        "capabilities": [{"name": k, "value": v} for k, v in told.items()],
        "restrictions": [],
    }


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    skus = [
        sku("Standard_D4s_v5"),
        sku("Standard_D4as_v5"),
        sku("Standard_E4s_v5", MemoryGB="32"),
        sku("Standard_D8s_v5", vCPUs="8"),
    ]
    node = {
        "statefulNode": {
            "region": "westeurope",
            "compute": {"os": "Linux", "zones": ["1", "2"], "vmSizes": {"odSizes": ["Standard_D4s_v5"]}},
        }
    }
    (tmp_path / "skus.json").write_text(json.dumps(skus))
    (tmp_path / "node.json").write_text(json.dumps(node))
    (tmp_path / "prices.csv").write_text(
        "region,size,usd_per_hour,usd_per_hour_spot,date\n"
        "westeurope,Standard_D4s_v5,0.230,0.046,2026-01-01\n"
        "westeurope,Standard_D4as_v5,0.200,0.030,2026-01-01\n"
    )
    return {name: tmp_path / name for name in ("skus.json", "node.json", "prices.csv")}


def test_sizes_of_a_specification_share_the_on_demand_sizes_attributes(files):
    result = run(
        "sizes", "--spec", files["node.json"], "--skus", files["skus.json"], "--prices", files["prices.csv"], "--json"
    )

    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert [(s["name"], s["spotCostPerMonth"], s["onDemandCostPerMonth"]) for s in told["sizes"]] == [
        ("Standard_D4as_v5", 21.9, 146.0),
        ("Standard_D4s_v5", 33.58, 167.9),
    ]
    assert told["priceDate"] == "2026-01-01"
    assert told["sizes"][0]["zones"] == ["1", "2"]
    assert {u["name"] for u in told["unsupported"]} == {"Standard_E4s_v5", "Standard_D8s_v5"}
    assert [s["name"] for s in told["onDemand"]["sizes"]] == ["Standard_D4s_v5"]
    assert told["funnel"][0]["remain"] == 4
    assert told["funnel"][-1]["remain"] == 2


def test_without_prices_spot_costs_are_unknown_and_the_text_shows_funnel_table_and_reasons(files):
    result = run("sizes", "--spec", files["node.json"], "--skus", files["skus.json"], "--all")

    assert result.exit_code == 0
    assert "unknown" in result.stdout
    assert " 0.00 " not in result.stdout
    assert "prices of 2026-06-18" in result.stdout
    assert "with the memory asked for" in result.stdout
    assert "32 GiB memory, at most 16 asked for" in result.stdout


def test_attributes_that_match_nothing_exit_with_four_and_the_nearest_misses(files, tmp_path: Path):
    node = json.loads(files["node.json"].read_text())
    node["statefulNode"]["compute"]["vmSizes"] = {"odSizes": [], "spotSizeAttributes": {"minCpu": 64}}
    (tmp_path / "big.json").write_text(json.dumps(node))

    result = run("sizes", "--spec", tmp_path / "big.json", "--skus", files["skus.json"], "--json")

    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert told["error"]["code"] == "market.no_size_matches"
    assert told["error"]["nearestMisses"]
    assert told["sizes"] == []


def test_a_named_on_demand_size_that_does_not_fit_is_refused_by_the_same_rules(files, tmp_path: Path):
    node = json.loads(files["node.json"].read_text())
    node["statefulNode"]["compute"]["vmSizes"] = {"odSizes": ["Standard_Nope"], "spotSizeAttributes": {"minCpu": 4}}
    (tmp_path / "od.json").write_text(json.dumps(node))

    result = run("sizes", "--spec", tmp_path / "od.json", "--skus", files["skus.json"])

    assert result.exit_code == 4
    assert "no size Standard_Nope is offered here" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("sizes",),
        ("sizes", "--vm", "g/db-1"),
        ("sizes", "--spec", "absent.json", "--skus", "absent.json"),
        ("replay", "--traces", "absent"),
        ("replay", "--traces", ".", "--downtime", "5m"),
        ("replay", "--traces", ".", "--policy", "p9"),
        ("replay", "--traces", ".", "--plot", "plot.gif"),
        ("export-history",),
    ],
    ids=" ".join,
)
def test_wrong_input_exits_with_two_and_names_the_field(arguments, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_a_machine_is_asked_of_the_connected_cloud(files):
    own = size_from_azure_sku(sku("Standard_D4s_v5"))

    def machine(name: str) -> MachineFacts:
        if name != "g/db-1":
            raise NotFound(kind="machine", name=name)
        return MachineFacts(MachineTraits(location="westeurope", own_size=own.name, zone="1"), own)

    sources = MarketSources(
        machine,
        lambda region: [size_from_azure_sku(s) for s in json.loads(files["skus.json"].read_text())],
        lambda region, os: PriceBook(spot={"standard_d4s_v5": 0.05, "standard_d4as_v5": 0.04}),
    )

    found, absent = (run("sizes", "--vm", vm, "--json", sources=sources) for vm in ("g/db-1", "g/other"))

    assert found.exit_code == 0
    assert [s["name"] for s in json.loads(found.stdout)["sizes"]] == ["Standard_D4as_v5", "Standard_D4s_v5"]
    assert absent.exit_code == 3
    assert json.loads(absent.stdout)["error"]["code"] == "not_found"


def test_with_files_for_sizes_no_cloud_is_asked(files):
    def asked(*_: object) -> Any:
        raise AssertionError("a cloud was asked")

    sources = MarketSources(asked, asked, asked)

    result = run("sizes", "--spec", files["node.json"], "--skus", files["skus.json"], "--json", sources=sources)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["priceDate"] == "2026-06-18"


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    pool = generate_pool("g", seed=6, days=3, zones=("west-1a", "west-1b"), sizes=("d4",))
    folder = tmp_path / "traces"
    folder.mkdir()
    with (folder / "mine.csv").open("w") as into:
        write_csv(rows_of_pool(pool), into)
    return folder


def test_replay_prints_the_documented_json_and_nothing_else(traces: Path):
    result = run("replay", "--traces", traces, "--policy", "p3", "p5", "--lambda", "30", "--downtime", "15/5", "--json")

    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["lambda"], told["downtime"], told["detect"], told["probe"]) == (30.0, "15/5", 1, 5)
    assert told["pools"][0]["name"] == "mine west-1"
    assert told["pools"][0]["minutes"] == 4320
    assert set(told["policies"]) == {"p3", "p5"}
    p3 = told["policies"]["p3"]
    assert p3["j_over_oracle"] == pytest.approx(p3["j"] / told["oracle"]["j"])
    assert p3["j"] == pytest.approx(p3["cost"] + 30 * p3["downtime_minutes_per_30_days"] / 43_200)
    assert {"moves", "planned_moves", "evictions", "spot_share", "availability"} <= set(p3)
    assert told["pools"][0]["policies"]["p3"]["j"] == pytest.approx(p3["j"])
    assert told["below_oracle"] == []


def test_j_of_several_pools_is_weighted_by_their_length(traces: Path, tmp_path: Path):
    pools = [
        {"name": "long", "series": ["mine.csv"], "to_day": 2},
        {"name": "short", "series": ["mine.csv"], "from_day": 2, "price": 0.5},
    ]
    (tmp_path / "pools.json").write_text(json.dumps(pools))

    told = json.loads(
        run("replay", "--traces", traces, "--pools", tmp_path / "pools.json", "--policy", "documented", "--json").stdout
    )

    long, short = told["pools"]
    assert (long["minutes"], short["minutes"]) == (2880, 1440)
    for of in (lambda p: p["oracle"]["j"], lambda p: p["policies"]["documented"]["j"]):
        mean = (of(long) * 2880 + of(short) * 1440) / 4320
        assert mean in (pytest.approx(told["oracle"]["j"]), pytest.approx(told["policies"]["documented"]["j"]))


def test_downtime_of_one_number_means_both_and_the_table_names_the_terms(traces: Path):
    result = run("replay", "--traces", traces, "--policy", "documented", "--downtime", "5")

    assert result.exit_code == 0
    assert "downtime 5/5 min" in result.stdout
    assert "documented" in result.stdout


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_plot_is_written_and_an_svg_is_the_same_again(traces: Path, tmp_path: Path, ending: str):
    files = [tmp_path / f"plot{i}.{ending}" for i in (1, 2)]

    for file in files[: 2 if ending == "svg" else 1]:
        result = run("replay", "--traces", traces, "--policy", "documented", "--plot", file)
        assert result.exit_code == 0, result.stderr

    assert files[0].stat().st_size > 5_000
    if ending == "svg":
        text = files[0].read_text()
        assert "mine west-1" in text
        assert "oracle" in text
        assert text == files[1].read_text()


def test_exported_history_replays_to_the_same_result(traces: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()

    exported = run("export-history", "--traces", traces, "--out", out / "mine.json")

    assert exported.exit_code == 0
    first, again = (json.loads(run("replay", "--traces", f, "--policy", "p3", "--json").stdout) for f in (traces, out))
    assert again["policies"] == first["policies"]


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--spec", "[]"),
        ("--spec", '{"compute": []}'),
        ("--spec", '{"compute": {"vmSizes": 5}}'),
        ("--skus", "[1, 2]"),
        ("--skus", '[{"name": "X", "locations": ["westeurope"], "capabilities": "none"}]'),
        ("--prices", "region,size,usd_per_hour\nwesteurope,Standard_D4s_v5,dear\n"),
        ("--prices", '{"Items": ["x"]}'),
    ],
)
def test_file_of_another_kind_is_refused_by_its_option(files, tmp_path: Path, option: str, text: str):
    odd = tmp_path / "odd"
    odd.write_text(text)
    given = {"--spec": files["node.json"], "--skus": files["skus.json"], "--prices": files["prices.csv"], option: odd}

    result = run("sizes", *(word for pair in given.items() for word in pair), "--json")

    assert result.exit_code == 2, result.output
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "input.invalid"
    assert error["field"] in (option, "compute")
    assert error["remedy"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--lambda", "0"], "lambda"),
        (["--lambda", "-1"], "lambda"),
        (["--lambda", "nan"], "lambda"),
        (["--lambda", "inf"], "lambda"),
        (["--downtime", "-5"], "--downtime"),
        (["--downtime", "5/5/5"], "--downtime"),
        (["--detect", "-1"], "--detect"),
        (["--probe", "0"], "--probe"),
        (["--window", "02:99-03:00"], "--window"),
        (["--window", "-1:00-03:00"], "--window"),
        (["--forecast-error", "0.6"], "--forecast-error"),
        (["--forecast-horizon", "0"], "--forecast-horizon"),
        (["--forecast", "nobody"], "--forecast"),
        (["--policy", "nobody"], "policy"),
    ],
)
def test_replay_refuses_what_cannot_be_by_its_option(tmp_path: Path, options: list[str], field: str):
    with (tmp_path / "history.csv").open("w") as into:
        write_csv(rows_of_pool(generate_pool("p", seed=1, days=0.2, zones=["w-1a"], sizes=["d4"])), into)

    result = run("replay", "--traces", tmp_path, "--json", *options)

    assert result.exit_code == 2, result.output
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["field"]) == ("input.invalid", field)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.json", '{"format": "holdfast-market-history", "version": 1, "rows": ['),
        ("h.json", '{"format": "holdfast-market-history", "version": 1, "rows": [1]}'),
        ("h.json", '{"format": "holdfast-market-history", "version": 2, "rows": []}'),
        ("h.csv", "hello"),
        ("h.csv", "time,available\n"),
        ("h.csv", "time,available,price\n2026-01-01T00:00:00,1,.3\n"),
        ("h.csv", "time,available,price\n2026-01-01T00:00:00Z,2,.3\n"),
        ("h.csv", "time,available,price\n2026-01-01T00:00:00Z,1,\n"),
        ("h.csv", "time,available,price\n2026-01-01T00:00:00Z,1,-1\n"),
        ("h.csv", "time,available,price\n2026-01-01T00:00:00Z,1,nan\n"),
        ("h.csv", "time,available,price\n1026-01-01T00:00:00Z,1,.3\n2026-01-01T00:00:00Z,1,.3\n"),
        ("a1_v100_1.json", '{"metadata": {"gap_seconds": 600}, "data": [1, "x"]}'),
        ("a1_v100_1.json", '{"metadata": {"gap_seconds": 0}, "data": [1]}'),
        ("a1_v100_1.json", '{"metadata": {"gap_seconds": 1e30}, "data": [1]}'),
        ("a1_v100_1.json", '{"metadata": 5, "data": [1]}'),
        ("a1_v100_1.json", '{"metadata": {"gap_seconds": 600}, "data": [1]}'),
        ("a1_v100_1.json", "nonsense"),
    ],
)
def test_history_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)

    result = run("replay", "--traces", tmp_path, "--policy", "p5", "--json")

    assert result.exit_code == 2, result.output
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "input.invalid"
    assert name.split(".")[0] in error["field"]


def test_history_without_prices_is_replayed_at_a_constant_price(tmp_path: Path):
    (tmp_path / "h.csv").write_text("time,available,price\n2026-01-01T00:00:00Z,1,\n2026-01-01T09:59:00Z,1,\n")
    (tmp_path / "pools.json").write_text('[{"name": "here", "series": ["h.csv"], "price": 0.2}]')

    result = run("replay", "--traces", tmp_path, "--pools", tmp_path / "pools.json", "--policy", "documented", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pools"][0]["policies"]["documented"]["cost"] == pytest.approx(0.2)


def test_signals_are_printed_with_what_they_are_worth_and_words_are_told_first(tmp_path: Path):
    told: list[Any] = []

    def tell(cloud: str | None, words: list[Any]) -> int:
        told.append((cloud, words))
        return len(words)

    def nothing(*_: object) -> Any:
        raise AssertionError("is not asked")

    report = {
        "signal": "placement-score", "horizon_minutes": 60, "words": 90, "judged": 60, "said_stays_stayed": 30,
        "said_stays_dropped": 2, "said_drops_stayed": 1, "said_drops_dropped": 27, "error_rate": 0.12,
        "earns_below": 0.4, "earned": True,
    }  # fmt: skip
    sources = MarketSources(nothing, nothing, nothing, signals=lambda: [report], tell=tell)
    (tmp_path / "words.json").write_text('[{"region": "r", "size": "s", "signal": "placement-score", "said": "High"}]')

    shown = run("signals", "--tell", tmp_path / "words.json", "--cloud", "lab", sources=sources)
    as_json = run("signals", "--json", sources=sources)

    assert shown.exit_code == 0, shown.output
    assert "2/32" in shown.stdout
    assert "0.12" in shown.stdout
    assert told == [("lab", [{"region": "r", "size": "s", "signal": "placement-score", "said": "High"}])]
    assert json.loads(as_json.stdout) == [report]
    assert run("signals").exit_code == 2


def test_quota_refuses_what_does_not_fit_whether_it_comes_from_a_file_or_from_the_cloud(files, tmp_path: Path):
    usages = [
        {"name": {"value": "lowPriorityCores"}, "currentValue": "97", "limit": "100"},
        {"name": {"value": "cores"}, "currentValue": 0, "limit": 100},
    ]
    (tmp_path / "usages.json").write_text(json.dumps(usages))
    skus = json.loads(files["skus.json"].read_text())
    sources = MarketSources(
        machine=lambda _: None,  # type: ignore[arg-type, return-value]
        sizes=lambda region: [size_from_azure_sku(item, region) for item in skus],
        prices=lambda region, os: PriceBook(),
        quota=lambda region: Quota(spot_free=3),
    )

    by_file = run("sizes", "--spec", files["node.json"], "--skus", files["skus.json"], "--usages",
                  tmp_path / "usages.json", "--json")  # fmt: skip
    by_cloud = run("sizes", "--spec", files["node.json"], "--json", sources=sources)

    for result in (by_file, by_cloud):
        assert result.exit_code == 4, result.output
        told = json.loads(result.stdout)
        assert told["sizes"] == []
        reasons = [r["rule"] for u in told["unsupported"] if u["name"] == "Standard_D4s_v5" for r in u["reasons"]]
        assert reasons == ["size.quota"]
        assert [size["name"] for size in told["onDemand"]["sizes"]] == ["Standard_D4s_v5"]
