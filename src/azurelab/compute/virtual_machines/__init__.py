"""Microsoft.Compute/virtualMachines: a folder, as it is the one type that holds others and runs.

`type` puts the pieces together. A PUT or PATCH goes through `documents` (what the body means on top of what is stored),
`rules` (what Azure refuses), `storage` and `network` (disks and cards taken and given back), then `updating` makes it
true. `powering` and `deleting` are the other verbs, `evicting` is Spot's end, `viewing` what clients see, and `guest`
the only place that speaks to the hypervisor.

A machine's power lives in `hidden["power"]`: starting, running, stopping, stopped, deallocating, deallocated. It is
written at the moment at which it becomes true, together with its entry in the event log.
"""
