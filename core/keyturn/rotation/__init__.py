"""How a long-term key is replaced so that no secret is ever lost: the record, the plan, the words. Pure."""
