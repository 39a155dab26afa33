"""The cellar: small parts every room may use. Imports nothing of ours."""
