"""The shared AWS config and credentials files: read as botocore reads them, edited without touching anything else."""
