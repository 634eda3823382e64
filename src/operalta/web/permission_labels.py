"""What each permission is called for people."""

from types import MappingProxyType

from operalta.access.rules import Permission

LABELS = MappingProxyType(
    {
        Permission.COMPANY_READ: "See the company",
        Permission.COMPANY_MANAGE: "Change the company",
        Permission.MEMBERS_READ: "See members",
        Permission.MEMBERS_INVITE: "Invite people",
        Permission.MEMBERS_MANAGE: "Change roles, remove members",
        Permission.MEMORY_READ: "Read the memory",
        Permission.MEMORY_WRITE: "Write to the memory",
        Permission.METRICS_READ: "Read metrics",
        Permission.METRICS_WRITE: "Enter metrics",
        Permission.FILES_READ: "Read files and artifacts",
        Permission.FILES_WRITE: "Write files and artifacts",
        Permission.AGENTS_READ: "See agents",
        Permission.AGENTS_RUN: "Work with agents",
        Permission.AGENTS_MANAGE: "Change agents",
        Permission.WEB_FETCH: "Have pages fetched",
        Permission.SHELL_RUN: "Have commands run",
        Permission.APPROVALS_READ: "See approvals",
        Permission.APPROVALS_DECIDE: "Decide approvals",
        Permission.AUDIT_READ: "Read the audit log",
        Permission.KEYS_USE: "Make API keys of one's own",
        Permission.KEYS_MANAGE: "Make and revoke the company's API keys",
        Permission.INTEGRATIONS_READ: "See integrations",
        Permission.INTEGRATIONS_CONNECT: "Connect accounts of one's own",
        Permission.INTEGRATIONS_MANAGE: "Switch integrations on and off",
    }
)
"""Every permission, in a few words each."""
