"""The ARM protocol: ids, routing, api-versions, etags, errors, long-running operations, throttling. No resource here.

Adding a resource type is one file: a `ResourceType` value and the effects that it names, then one line in its room's
`open_room` (`azurelab/<room>/__init__.py`, see `azurelab.rooms.Room`):

    from azurelab.arm.context import Context
    from azurelab.arm.errors import conflict
    from azurelab.arm.types import DISKS, Field, Lro, ResourceType, Verb

    def prepare(ctx: Context) -> None:                    # under the store's lock, before the answer
        disk = ctx.resource                               # PUT/PATCH: the new private one; ctx.before = the old
        if disk.properties["creationData"]["createOption"] == "Copy":
            source = ctx.get(disk.properties["creationData"]["sourceResourceId"])     # ArmError 404 if absent
            disk.properties["creationData"]["sourceUniqueId"] = source.properties["uniqueId"]
        disk.properties.setdefault("uniqueId", str(uuid.uuid4()))     # raise ArmError = the answer, nothing changed
        ctx.memo["size"] = 1 << 30                        # JSON, survives a kill -9, there again in run and finish

    def run(ctx: Context) -> None:                        # worker thread, no lock; may block; must be repeatable
        ctx.lab.services["disks"].create(ctx.id.key, ctx.memo["size"])
        ctx.checkpoint("file made")                       # a half_done fault may end the effect here

    def finish(ctx: Context) -> None:                     # under the lock, when the operation's time is over
        with ctx.edit() as disk:                          # a private copy, stored when the block ends well
            disk.properties["diskState"] = "Unattached"
        ctx.log("disk-ready")                             # the event log

    def refuse_attached(ctx: Context) -> None:
        if ctx.resource.doc.get("managedBy"):
            raise conflict("OperationNotAllowed", f"Disk {ctx.id.name} is attached to VM …")

    DISKS_TYPE = ResourceType(
        name="Microsoft.Compute/disks",
        flavor=DISKS,                                     # polling URLs and the shape of poll answers
        put=Verb(new=202, existing=202, lro=Lro.BOTH, seconds=0.2, bucket="CreateUpdateDisks",
                 prepare=prepare, run=run, finish=finish, answer=accepted),     # answer(ctx) -> JSON of the 202
        delete=Verb(existing=202, lro=Lro.BOTH, seconds=0.3, bucket="DeleteDisks", prepare=refuse_attached, empty=True),
        actions={"beginGetAccess": Verb(existing=202, lro=Lro.BOTH, bucket="HighCostDiskHydrate", run=…, result=…)},
        readonly=("properties.uniqueId", "properties.timeCreated", "managedBy"),
        fields=(Field(path="properties.creationData.createOption", values=("Empty", "Copy", …), required=True),),
        read_bucket="LowCostGet", list_bucket="HighCostGet", delete_order=40,
    )

    # compute/__init__.py
    def open_room(lab: Lab) -> Room:
        return Room(types=[DISKS_TYPE, …], routes=[…], mounts=[("/md-", data_plane_asgi)], start=…, stop=…)

Rules that are easy to miss
- `Verb`'s docstring is the life of a call. `quick=True` runs effects that never block at once, in the acceptance's
  transaction; leave it off for anything that waits (guests, big files). With the `instant` profile the client's first
  poll waits until the effect is done, so both look the same from outside.
- Documents are stored losslessly: unknown properties stay. `readonly` paths are dropped from bodies and carried over.
  PUT replaces the rest unless the type gives `merge` (VM PUT keeps what the body omits); PATCH merges, tags replace.
- Never change a stored `Resource` in place: `with ctx.edit(id) as r`. `r.hidden` is JSON that clients never see (power
  state, SAS ids); changes of it alone leave the etag. `ctx.store.of_type/children/in_group` read.
- Several changes as one: `with ctx.transaction():`. Hold it for moments only; the event loop waits for the same lock.
- Make other resources with `ctx.create` (no hooks) or `ctx.lab.arm.perform("PUT", id, body, version)` (with all
  hooks, waits for the end; only in `run`).
- Other rooms' functions are imported as such: `azurelab.network.attachment` (attach_nic, detach_nic, nics_of …).
- Time is `ctx.now()`, `ctx.timestamp()`, `ctx.lab.timers.at(lab_time, call)`; never `time.time()`.
- Endpoints that are no resource (usages, marketplace listings) are `Route`s; control endpoints go to
  `lab.control.add("PUT", "/azurelab/…", handle)` (called in a worker thread).
- VM etags: `etags=Etags.COUNTER`; network: `Etags.WEAK`.
"""
