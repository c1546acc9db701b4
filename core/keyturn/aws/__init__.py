"""Access to AWS: small protocols, and their implementation with boto3."""
