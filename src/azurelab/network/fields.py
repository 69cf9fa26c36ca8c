"""The fields of the network's documents that Azure's deserialiser judges: kinds and words of the vendor's ARM schema
(MIT). Embedded children (subnets, rules, pools) are judged like those that have a URL of their own."""

from __future__ import annotations

from azurelab.arm.fields import fields_of

__all__ = [
    "ANY",
    "BALANCER",
    "CARD",
    "NAT_RULE",
    "NETWORK_OF",
    "PEERING",
    "POOL",
    "PUBLIC_IP",
    "RULE",
    "RULES",
    "SUBNET",
]

_SUBNET = """
properties.addressPrefix text
properties.addressPrefixes list
properties.networkSecurityGroup.id text
properties.routeTable.id text
properties.natGateway.id text
properties.serviceEndpoints[].service text
properties.serviceEndpoints[].locations list
properties.delegations[].name text
properties.delegations[].properties.serviceName text
properties.defaultOutboundAccess bool
properties.privateEndpointNetworkPolicies enum Enabled|Disabled|NetworkSecurityGroupEnabled|RouteTableEnabled
properties.privateLinkServiceNetworkPolicies enum Enabled|Disabled
"""
_PEERING = """
properties.remoteVirtualNetwork.id text
properties.allowVirtualNetworkAccess bool
properties.allowForwardedTraffic bool
properties.allowGatewayTransit bool
properties.useRemoteGateways bool
properties.doNotVerifyRemoteGateways bool
"""
_RULE = """
properties.access enum Allow|Deny
properties.direction enum Inbound|Outbound
properties.protocol enum *|Tcp|Udp|Icmp|Esp|Ah
properties.priority int
properties.description text
properties.sourcePortRange text
properties.destinationPortRange text
properties.sourceAddressPrefix text
properties.destinationAddressPrefix text
properties.sourcePortRanges[] text
properties.destinationPortRanges[] text
properties.sourceAddressPrefixes[] text
properties.destinationAddressPrefixes[] text
properties.sourceApplicationSecurityGroups[].id text
properties.destinationApplicationSecurityGroups[].id text
"""
_NAT_RULE = """
properties.protocol enum Udp|Tcp|All|Quic
properties.frontendPort int
properties.backendPort int
properties.frontendPortRangeStart int
properties.frontendPortRangeEnd int
properties.idleTimeoutInMinutes int
properties.enableFloatingIP bool
properties.enableTcpReset bool
properties.frontendIPConfiguration.id text
properties.backendAddressPool.id text
"""
_POOL = """
properties.drainPeriodInSeconds int
properties.loadBalancerBackendAddresses[].name text
properties.virtualNetwork.id text
"""


def _within(table: str, word: str) -> str:
    """The table of a child, as its parent's document holds it."""
    lines = ["name text", *table.strip().splitlines()]
    return "\n".join(f"properties.{word}[].{line}" for line in lines) + "\n"


ANY = fields_of("properties object")
SUBNET, PEERING, RULE, NAT_RULE, POOL = (fields_of(t) for t in (_SUBNET, _PEERING, _RULE, _NAT_RULE, _POOL))
NETWORK_OF = fields_of(
    """
properties.addressSpace.addressPrefixes[] text
properties.dhcpOptions.dnsServers[] text
properties.enableDdosProtection bool
properties.enableVmProtection bool
properties.flowTimeoutInMinutes int
properties.encryption.enabled bool
properties.encryption.enforcement enum DropUnencrypted|AllowUnencrypted
properties.privateEndpointVNetPolicies enum Disabled|Basic
"""
    + _within(_SUBNET, "subnets")
    + _within(_PEERING, "virtualNetworkPeerings")
)
RULES = fields_of("properties.flushConnection bool\n" + _within(_RULE, "securityRules"))
CARD = fields_of(
    """
properties.ipConfigurations[].name text
properties.ipConfigurations[].properties.privateIPAllocationMethod enum Static|Dynamic
properties.ipConfigurations[].properties.privateIPAddressVersion enum IPv4|IPv6
properties.ipConfigurations[].properties.privateIPAddress text
properties.ipConfigurations[].properties.primary bool
properties.ipConfigurations[].properties.subnet.id text
properties.ipConfigurations[].properties.publicIPAddress.id text
properties.ipConfigurations[].properties.loadBalancerBackendAddressPools[].id text
properties.ipConfigurations[].properties.loadBalancerInboundNatRules[].id text
properties.ipConfigurations[].properties.applicationSecurityGroups[].id text
properties.networkSecurityGroup.id text
properties.dnsSettings.dnsServers[] text
properties.dnsSettings.internalDnsNameLabel text
properties.enableIPForwarding bool
properties.enableAcceleratedNetworking bool
properties.disableTcpStateTracking bool
properties.nicType enum Standard|Elastic
properties.auxiliaryMode enum None|MaxConnections|Floating|AcceleratedConnections
properties.auxiliarySku enum None|A1|A2|A4|A8
"""
)
PUBLIC_IP = fields_of(
    """
sku.name enum Basic|Standard|StandardV2
sku.tier enum Regional|Global
properties.publicIPAllocationMethod enum Static|Dynamic
properties.publicIPAddressVersion enum IPv4|IPv6
properties.idleTimeoutInMinutes int
properties.deleteOption enum Delete|Detach
properties.ddosSettings.protectionMode enum VirtualNetworkInherited|Enabled|Disabled
properties.dnsSettings.domainNameLabel text
properties.dnsSettings.reverseFqdn text
properties.ipTags[].ipTagType text
properties.ipTags[].tag text
properties.publicIPPrefix.id text
zones[] text
"""
)
BALANCER = fields_of(
    """
sku.name enum Basic|Standard|Gateway
sku.tier enum Regional|Global
properties.frontendIPConfigurations[].name text
properties.frontendIPConfigurations[].zones[] text
properties.frontendIPConfigurations[].properties.privateIPAllocationMethod enum Static|Dynamic
properties.frontendIPConfigurations[].properties.privateIPAddressVersion enum IPv4|IPv6
properties.frontendIPConfigurations[].properties.privateIPAddress text
properties.frontendIPConfigurations[].properties.subnet.id text
properties.frontendIPConfigurations[].properties.publicIPAddress.id text
properties.loadBalancingRules[].name text
properties.loadBalancingRules[].properties.frontendIPConfiguration.id text
properties.loadBalancingRules[].properties.backendAddressPool.id text
properties.loadBalancingRules[].properties.probe.id text
properties.loadBalancingRules[].properties.protocol enum Udp|Tcp|All|Quic
properties.loadBalancingRules[].properties.frontendPort int
properties.loadBalancingRules[].properties.backendPort int
properties.loadBalancingRules[].properties.idleTimeoutInMinutes int
properties.loadBalancingRules[].properties.enableFloatingIP bool
properties.loadBalancingRules[].properties.enableTcpReset bool
properties.loadBalancingRules[].properties.disableOutboundSnat bool
properties.loadBalancingRules[].properties.loadDistribution enum Default|SourceIP|SourceIPProtocol
properties.probes[].name text
properties.probes[].properties.protocol enum Http|Tcp|Https
properties.probes[].properties.port int
properties.probes[].properties.intervalInSeconds int
properties.probes[].properties.numberOfProbes int
properties.probes[].properties.probeThreshold int
properties.probes[].properties.requestPath text
properties.outboundRules[].name text
properties.outboundRules[].properties.backendAddressPool.id text
properties.outboundRules[].properties.frontendIPConfigurations[].id text
properties.outboundRules[].properties.protocol enum Tcp|Udp|All
properties.outboundRules[].properties.allocatedOutboundPorts int
properties.outboundRules[].properties.enableTcpReset bool
properties.outboundRules[].properties.idleTimeoutInMinutes int
properties.inboundNatPools[].properties.protocol enum Udp|Tcp|All
properties.inboundNatPools[].properties.frontendPortRangeStart int
properties.inboundNatPools[].properties.frontendPortRangeEnd int
properties.inboundNatPools[].properties.backendPort int
"""
    + _within(_POOL, "backendAddressPools")
    + _within(_NAT_RULE, "inboundNatRules")
)
