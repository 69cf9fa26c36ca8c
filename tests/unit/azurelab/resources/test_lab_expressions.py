"""Template expressions and tag arithmetic: pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azurelab.arm.errors import ArmError
from azurelab.resources.expressions import Scope, evaluate
from azurelab.resources.prices import _holds, _terms
from azurelab.resources.tags import merge_tags, remove_tags

_SCOPE = Scope(
    subscription="s",
    group={"name": "g", "location": "westeurope", "id": "/subscriptions/s/resourceGroups/g"},
    parameters={"Size": "D2", "list": [{"a": "x"}]},
    variables={"v": {"deep": ["zero", "one"]}},
    reference=lambda name, full: {"fqdn": f"{name}.example"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("[[literal]", "[literal]"),
        ("[parameters('size')]", "D2"),
        ("[variables('v').deep[1]]", "one"),
        ("[parameters('list')[0].a]", "x"),
        ("[concat('a', 'it''s', parameters('size'))]", "ait'sD2"),
        ("[resourceGroup().location]", "westeurope"),
        ("[toUpper(concat(subscription().subscriptionId, '-x'))]", "S-X"),
        (
            "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'v', 'd')]",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/d",
        ),
        ("[resourceId('other', 'A.B/c', 'n')]", "/subscriptions/s/resourceGroups/other/providers/A.B/c/n"),
        ("[reference('ip').fqdn]", "ip.example"),
        ({"a": ["[parameters('size')]", 3]}, {"a": ["D2", 3]}),
    ],
)
def test_expressions_mean_what_azure_means(text: Any, value: Any) -> None:
    assert evaluate(text, _SCOPE) == value


@pytest.mark.parametrize(
    "text",
    ["[parameters('none')]", "[nothing()]", "[concat('a']", "[variables('v').x]", "[resourceId('A.B/c')]", "['a' 'b']"],
)
def test_what_is_no_expression_is_refused_as_an_invalid_template(text: str) -> None:
    with pytest.raises(ArmError) as refused:
        evaluate(text, _SCOPE)

    assert refused.value.code == "InvalidTemplate"


_TAGS = st.dictionaries(st.sampled_from(["a", "A", "b", "c"]), st.sampled_from(["1", "2"]), max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tags=_TAGS, more=_TAGS)
def test_merging_keeps_other_names_and_what_was_merged_can_be_removed(
    tags: dict[str, str], more: dict[str, str]
) -> None:
    distinct = {k.lower(): v for k, v in tags.items()}

    merged = merge_tags(distinct, {k.lower(): v for k, v in more.items()})
    left = remove_tags(merged, dict.fromkeys(more, ""))

    assert all(merged[k.lower()] == more[k] for k in more if k.lower() not in {m.lower() for m in more if m != k})
    assert set(left) == set(distinct) - {k.lower() for k in more}


def test_price_filters_compare_with_case_and_take_alternatives() -> None:
    item = {"armSkuName": "Standard_D2s_v5", "skuName": "D2s v5 Spot", "isPrimaryMeterRegion": True}

    def holds(text: str) -> bool:
        return all(_holds(item, t) for t in _terms(text))

    assert holds("armSkuName eq 'Standard_D2s_v5' and isPrimaryMeterRegion eq true")
    assert holds("(armSkuName eq 'x' or armSkuName eq 'Standard_D2s_v5') and contains(skuName, 'Spot')")
    assert not holds("armSkuName eq 'standard_d2s_v5'")
    assert not holds("skuName ne 'D2s v5 Spot'")
    with pytest.raises(ArmError):
        _terms("armSkuName like 'x'")
