"""Deeds on people: invitations, platform roles, single sign-on, and the pages of signing in.

The rows are in ``portal.accounts``; here are the whole deeds with their audit record.
"""
