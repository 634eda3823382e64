"""Commands for those who change the product; nothing of it runs in a deployment."""
