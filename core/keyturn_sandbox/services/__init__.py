"""The AWS services that the sandbox answers for: STS and IAM."""
