"""Rules 10 and 11: nothing that the guest needs lives on a temp disk that the size lacks."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size, TempDisk

__all__ = ["page_file"]


@rule("size.page_file", "keep the guest's page file or swap", Kind.HARD)
def page_file(size: Size, asked: Question) -> Iterable[Verdict]:
    """Matters once another temp-disk class was allowed; before that the rule of the class has refused already."""
    traits = asked.traits
    loses = traits.temp_disk in (TempDisk.SCSI, TempDisk.BOTH) and size.temp_disk in (TempDisk.NONE, TempDisk.NVME)
    if not loses or not asked.wish.allow_other_temp_disk:
        return
    if traits.os == "windows":
        if traits.page_file_on_temp is not False:
            yield No(
                f"the page file is, or may be, on the temp disk, which {size.name} does not have as D:",
                "move the page file to C: first; then the first data disk may become D:, so check drive letters",
            )
    elif traits.swap_on_temp is not False:
        yield Note(f"swap or scratch space on the resource disk is lost on {size.name}")
