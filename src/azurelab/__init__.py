"""azurelab: an Azure-compatible local cloud. ARM, identity and page-blob protocols before real disks and real guests.

Useful on its own: `az`, Terraform and the Azure SDKs can talk to it. It imports nothing of holdfast, on purpose.
"""

__version__ = "0.1.0"
