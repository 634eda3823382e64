"""How integrations refuse. No text holds anything that a service wrote."""

from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound, TooLarge, Unavailable


class NoSuchIntegration(NotFound):
    """There is no such integration here. Look at Integrations for those that there are."""


class IntegrationExists(Conflict):
    """There is an integration with this short name already. Choose another."""


class TooManyIntegrations(TooLarge):
    """There is no room for more integrations. Remove one that is no longer needed."""


class EnterCredentialAgain(InvalidInput):
    """What was entered was for the address and form of before. Enter the credential again for the new ones."""


class IntegrationOff(NotAllowed):
    """This integration is switched off. Somebody who manages integrations can switch it on."""


class NoCredential(NotAllowed):
    """This integration has no credential any more. Somebody who manages integrations has to enter a new one."""


class NotConnected(NotAllowed):
    """This integration uses your own account, and none is connected. Connect it from Integrations."""


class ReadOnlyIntegration(NotAllowed):
    """This integration only reads. Somebody who manages integrations can let it write as well."""


class MayNotWrite(NotAllowed):
    """Your role may read with integrations, not write, and API keys never write with them. Ask somebody who may."""


class OtherKind(InvalidInput):
    """Use integration_tool for MCP servers and integration_request for every other integration."""


class ToolsHaveChanged(NotAllowed):
    """The tools of this server are not those that were looked at. Somebody has to look again and switch it on."""


class ServiceUnusable(Unavailable):
    """The service does not answer as an MCP server does. Check its address, and try again later."""


class CredentialUnusable(NotAllowed):
    """The credential of this integration cannot be used any more. Enter a new one, or connect again."""
