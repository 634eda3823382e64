"""Agents as a company defines them: purpose, instructions, tools, folders, limits, and every version of each."""
