"""Session sources: each module obtains temporary credentials from AWS in one way."""
