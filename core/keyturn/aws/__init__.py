"""The one way to AWS: small protocols, and the boto3 client behind them."""
