"""Evaluation of IAM policies: principals, actions, resources and conditions."""
