"""AWS services of the sandbox: STS and IAM."""
