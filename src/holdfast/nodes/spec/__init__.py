"""The specification of a node: Spot's Azure stateful-node JSON, a file per section (spot-stateful-node-api.md, 3).

`parse_node_spec` turns JSON into a checked `NodeSpec`; the JSON itself is stored and echoed as the client gave it.
"""

from holdfast.nodes.spec.compute import Compute, SizeAttributes, VmSizes
from holdfast.nodes.spec.launch import LaunchSpecification, Tag
from holdfast.nodes.spec.network import Network, NetworkInterface
from holdfast.nodes.spec.node import NodeSpec, parse_node_spec
from holdfast.nodes.spec.persistence import Persistence
from holdfast.nodes.spec.strategy import Strategy

__all__ = [
    "Compute",
    "LaunchSpecification",
    "Network",
    "NetworkInterface",
    "NodeSpec",
    "Persistence",
    "SizeAttributes",
    "Strategy",
    "Tag",
    "VmSizes",
    "parse_node_spec",
]
