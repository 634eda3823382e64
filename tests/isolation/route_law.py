"""The law of the routes: for whom each is, and which permission it needs in a company. What is not here fails."""

from operalta.access.rules import Permission as May
from operalta.web.entry import Audience

LAW: dict[Audience | May, str] = {
    # For everybody, signed in or not: coming in, proving who one is, the trust page. None of them shows company data.
    Audience.VISITOR: """
        GET /                                GET /sign-in                         POST /sign-in
        GET /sign-up                         POST /sign-up                        POST /sign-out
        GET /verify-email                    POST /verify-email                   GET /reset
        POST /reset                          GET /password-reset/confirm          POST /reset/confirm
        GET /operator                        POST /operator                       POST /appearance
        GET /sign-in/second-factor           POST /second-factor/send             POST /second-factor/code
        POST /second-factor/authenticator    POST /second-factor/recovery-code    POST /security/factors/phone
        GET /trust-device                    POST /trust-device                   GET /invitations/accept
        POST /invitations/accept             GET /trust                           GET /trust/{clause_id}
        GET /api/v1/trust                    GET /api/v1/trust/{clause_id}        POST /api/v1/auth/sign-up
        POST /api/v1/auth/verify-email       POST /api/v1/auth/sign-in            POST /api/v1/auth/refresh
        POST /api/v1/auth/sign-out           POST /api/v1/auth/password-reset
        POST /api/v1/auth/password-reset/confirm                                  POST /api/v1/auth/ways
        POST /api/v1/auth/otp/send           POST /api/v1/auth/otp/verify         POST /api/v1/auth/totp/verify
        POST /api/v1/auth/recovery-code/verify                                    POST /api/v1/auth/passkey/options
        POST /api/v1/auth/passkey/verify     POST /api/v1/auth/trust-device       POST /api/v1/auth/factors/phone
        POST /api/v1/invitations/accept      POST /callbacks/sms/{provider}
        POST /hooks/{token}
    """,
    # For everybody who is signed in: their own account, and the companies they are in.
    Audience.PERSON: """
        GET /companies                       POST /companies                      GET /outbox
        GET /security                        POST /security/password              POST /security/verify-address
        POST /security/sessions/revoke-others
        POST /security/sessions/{session_id}/revoke                               GET /step-up
        POST /step-up                        POST /security/recovery-codes        GET /security/factors/phone
        GET /security/factors/phone/code     POST /security/factors/phone/code    GET /security/factors/authenticator
        POST /security/factors/authenticator
        GET /security/factors/authenticator/confirm
        POST /security/factors/authenticator/confirm                              GET /security/factors/passkey
        POST /security/factors/{factor_id}/remove                                 GET /api/v1/me
        GET /api/v1/companies                POST /api/v1/companies               PUT /api/v1/auth/password
        POST /api/v1/auth/password/verify    GET /api/v1/auth/sessions            DELETE /api/v1/auth/sessions
        DELETE /api/v1/auth/sessions/{session_id}                                 GET /api/v1/auth/factors
        DELETE /api/v1/auth/factors/{factor_id}
        POST /api/v1/auth/factors/phone/confirm
        POST /api/v1/auth/factors/recovery-codes                                  POST /api/v1/auth/factors/totp
        POST /api/v1/auth/factors/totp/confirm                                    POST /api/v1/auth/factors/passkey
        POST /api/v1/auth/factors/passkey/confirm                                 GET /staff
        POST /staff/visits                   POST /staff/visits/{visit_id}/end    GET /api/v1/staff/companies
        GET /api/v1/staff/visits             POST /api/v1/staff/visits
        DELETE /api/v1/staff/visits/{visit_id}                                    GET /connections/callback
    """,
    # Every member; leaving is everybody's right, so ending a membership asks the service for more.
    May.COMPANY_READ: """
        POST /api/v1/mcp
        GET /c/{company}                     POST /c/{company}/members/{person_id}/end
        GET /api/v1/companies/{company}      DELETE /api/v1/companies/{company}/members/{person_id}
    """,
    May.COMPANY_MANAGE: """
        POST /c/{company}/model-routes       PUT /api/v1/companies/{company}/model-routes
        POST /c/{company}/approvals/settings/rules
        PUT /api/v1/companies/{company}/approvals/rules
    """,
    May.MEMBERS_READ: """
        GET /c/{company}/members             GET /api/v1/companies/{company}/members
        GET /api/v1/companies/{company}/staff-visits
    """,
    May.MEMBERS_INVITE: """
        POST /c/{company}/invitations/{invitation_id}/resend
        POST /c/{company}/invitations        POST /c/{company}/invitations/{invitation_id}/revoke
        GET /api/v1/companies/{company}/invitations
        POST /api/v1/companies/{company}/invitations
        DELETE /api/v1/companies/{company}/invitations/{invitation_id}
        POST /api/v1/companies/{company}/invitations/{invitation_id}/resend
    """,
    May.MEMBERS_MANAGE: """
        POST /c/{company}/members/{person_id}/hand-over
        POST /api/v1/companies/{company}/members/{person_id}/hand-over
        POST /c/{company}/staff-visits/{visit_id}/end
        DELETE /api/v1/companies/{company}/staff-visits/{visit_id}
        POST /c/{company}/members/{person_id}/role
        PUT /api/v1/companies/{company}/members/{person_id}/role
    """,
    May.MEMORY_READ: """
        GET /c/{company}/memory              GET /c/{company}/memory/{record_id}
        GET /api/v1/companies/{company}/memory
        GET /api/v1/companies/{company}/memory/{record_id}
    """,
    May.MEMORY_WRITE: """
        POST /c/{company}/memory             POST /c/{company}/memory/{record_id}/status
        POST /c/{company}/memory/{record_id}/supersede
        POST /api/v1/companies/{company}/memory
        POST /api/v1/companies/{company}/memory/{record_id}/status
        POST /api/v1/companies/{company}/memory/{record_id}/supersede
        POST /c/{company}/memory/{record_id}/links
        POST /c/{company}/memory/{record_id}/links/remove
        POST /api/v1/companies/{company}/memory/{record_id}/links
        DELETE /api/v1/companies/{company}/memory/{record_id}/links/{relation}/{linked_id}
    """,
    May.METRICS_READ: """
        GET /c/{company}/metrics             GET /c/{company}/metrics/{slug}      GET /c/{company}/metrics/{slug}.csv
        GET /api/v1/companies/{company}/metrics
        GET /api/v1/companies/{company}/metrics/{slug}
        GET /api/v1/companies/{company}/metrics/{slug}/points
    """,
    May.METRICS_WRITE: """
        POST /c/{company}/metrics            POST /c/{company}/metrics/{slug}/points
        POST /api/v1/companies/{company}/metrics
        PATCH /api/v1/companies/{company}/metrics/{slug}
        POST /api/v1/companies/{company}/metrics/{slug}/points
    """,
    May.FILES_READ: """
        GET /c/{company}/files               GET /c/{company}/files/at            GET /c/{company}/files/{file_id}
        GET /c/{company}/files/{file_id}/download                                 GET /c/{company}/files/bin
        GET /api/v1/companies/{company}/files/bin
        GET /api/v1/companies/{company}/files
        GET /api/v1/companies/{company}/files/{file_id}
        GET /api/v1/companies/{company}/files/{file_id}/download
        GET /c/{company}/artifacts           GET /c/{company}/artifacts/{artifact_id}
        GET /c/{company}/artifacts/{artifact_id}/download
        GET /api/v1/companies/{company}/artifacts
        GET /api/v1/companies/{company}/artifacts/{artifact_id}
        GET /api/v1/companies/{company}/artifacts/{artifact_id}/versions
        GET /api/v1/companies/{company}/artifacts/{artifact_id}/versions/{version}
        GET /api/v1/companies/{company}/artifacts/{artifact_id}/diff
    """,
    May.FILES_WRITE: """
        POST /c/{company}/files              POST /c/{company}/files/{file_id}/delete
        POST /c/{company}/files/{file_id}/append                                  POST /c/{company}/files/{file_id}/move
        POST /c/{company}/files/{file_id}/versions/{version}/restore
        POST /c/{company}/files/{file_id}/restore
        POST /c/{company}/files/{file_id}/delete-for-good
        POST /api/v1/companies/{company}/files
        POST /api/v1/companies/{company}/files/append
        POST /api/v1/companies/{company}/files/{file_id}/move
        POST /api/v1/companies/{company}/files/{file_id}/restore
        DELETE /api/v1/companies/{company}/files/bin/{file_id}
        DELETE /api/v1/companies/{company}/files/{file_id}
        POST /c/{company}/artifacts          POST /c/{company}/artifacts/{artifact_id}/revise
        POST /c/{company}/artifacts/{artifact_id}/title
        POST /c/{company}/artifacts/{artifact_id}/open
        POST /c/{company}/artifacts/{artifact_id}/archive
        POST /c/{company}/artifacts/{artifact_id}/restore
        POST /api/v1/companies/{company}/artifacts
        PATCH /api/v1/companies/{company}/artifacts/{artifact_id}
        DELETE /api/v1/companies/{company}/artifacts/{artifact_id}
        POST /api/v1/companies/{company}/artifacts/{artifact_id}/restore
        POST /api/v1/companies/{company}/artifacts/{artifact_id}/open
        POST /api/v1/companies/{company}/artifacts/{artifact_id}/versions
    """,
    May.KEYS_USE: """
        GET /c/{company}/api-keys            POST /c/{company}/api-keys
        POST /c/{company}/api-keys/{key_id}/rotate
        POST /c/{company}/api-keys/{key_id}/revoke
        GET /api/v1/companies/{company}/api-keys
        POST /api/v1/companies/{company}/api-keys
        POST /api/v1/companies/{company}/api-keys/{key_id}/rotate
        DELETE /api/v1/companies/{company}/api-keys/{key_id}
    """,
    May.INTEGRATIONS_READ: """
        GET /c/{company}/integrations        GET /api/v1/companies/{company}/oauth-providers
        GET /api/v1/companies/{company}/integrations
        GET /api/v1/companies/{company}/integrations/{integration_id}
        GET /api/v1/companies/{company}/oauth-clients
        GET /api/v1/companies/{company}/connections
        GET /api/v1/companies/{company}/connections/{connection_id}
        GET /c/{company}/webhooks            GET /c/{company}/webhooks/{webhook_id}
        GET /c/{company}/inbound-hooks/{hook_id}
        GET /api/v1/companies/{company}/webhooks
        GET /api/v1/companies/{company}/webhooks/{webhook_id}
        GET /api/v1/companies/{company}/webhooks/{webhook_id}/deliveries
        GET /api/v1/companies/{company}/inbound-hooks
        GET /api/v1/companies/{company}/inbound-hooks/{hook_id}/messages
    """,
    May.INTEGRATIONS_CONNECT: """
        POST /c/{company}/integrations/clients/{oauth_client_id}/connect
        POST /c/{company}/integrations/connections/{connection_id}/again
        POST /c/{company}/integrations/connections/{connection_id}/revoke
        POST /api/v1/companies/{company}/connections
        DELETE /api/v1/companies/{company}/connections/{connection_id}
    """,
    May.INTEGRATIONS_MANAGE: """
        POST /c/{company}/integrations/services
        POST /c/{company}/integrations/services/{integration_id}/change
        POST /c/{company}/integrations/services/{integration_id}/switch
        POST /c/{company}/integrations/services/{integration_id}/check
        POST /c/{company}/integrations/services/{integration_id}/remove
        POST /api/v1/companies/{company}/integrations
        PUT /api/v1/companies/{company}/integrations/{integration_id}
        PUT /api/v1/companies/{company}/integrations/{integration_id}/switch
        POST /api/v1/companies/{company}/integrations/{integration_id}/check
        DELETE /api/v1/companies/{company}/integrations/{integration_id}
        POST /c/{company}/integrations/clients
        POST /c/{company}/integrations/clients/{oauth_client_id}/change
        POST /c/{company}/integrations/clients/{oauth_client_id}/remove
        POST /api/v1/companies/{company}/oauth-clients
        PUT /api/v1/companies/{company}/oauth-clients/{oauth_client_id}
        DELETE /api/v1/companies/{company}/oauth-clients/{oauth_client_id}
        POST /c/{company}/webhooks           POST /c/{company}/webhooks/{webhook_id}/change
        POST /c/{company}/webhooks/{webhook_id}/switch                            POST /c/{company}/inbound-hooks
        POST /c/{company}/webhooks/{webhook_id}/rotate
        POST /c/{company}/webhooks/{webhook_id}/replay
        POST /c/{company}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay
        POST /c/{company}/webhooks/{webhook_id}/remove
        POST /c/{company}/inbound-hooks/{hook_id}/switch
        POST /c/{company}/inbound-hooks/{hook_id}/rotate
        POST /c/{company}/inbound-hooks/{hook_id}/remove
        POST /api/v1/companies/{company}/webhooks
        PUT /api/v1/companies/{company}/webhooks/{webhook_id}
        PUT /api/v1/companies/{company}/webhooks/{webhook_id}/switch
        POST /api/v1/companies/{company}/webhooks/{webhook_id}/rotate
        POST /api/v1/companies/{company}/webhooks/{webhook_id}/replay
        POST /api/v1/companies/{company}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay
        DELETE /api/v1/companies/{company}/webhooks/{webhook_id}
        POST /api/v1/companies/{company}/inbound-hooks
        PUT /api/v1/companies/{company}/inbound-hooks/{hook_id}/switch
        POST /api/v1/companies/{company}/inbound-hooks/{hook_id}/rotate
        DELETE /api/v1/companies/{company}/inbound-hooks/{hook_id}
    """,
    May.AUDIT_READ: """
        GET /c/{company}/model-use
        GET /api/v1/companies/{company}/model-routes/requests
        GET /c/{company}/audit               GET /c/{company}/audit/export        POST /c/{company}/audit/verify
        GET /api/v1/companies/{company}/audit
        POST /api/v1/companies/{company}/audit/verify
    """,
    May.AGENTS_RUN: """
        GET /c/{company}/chat                POST /c/{company}/chat
        GET /c/{company}/chat/{conversation_id}
        POST /c/{company}/chat/{conversation_id}
        POST /c/{company}/runs/{run_id}/retry
        POST /c/{company}/runs/{run_id}/continue
        GET /c/{company}/runs/{run_id}/context
        GET /api/v1/companies/{company}/runs/{run_id}/context
        GET /c/{company}/runs/{run_id}/events                                     POST /c/{company}/runs/{run_id}/stop
        GET /api/v1/companies/{company}/agents
        GET /api/v1/companies/{company}/conversations
        POST /api/v1/companies/{company}/conversations
        GET /api/v1/companies/{company}/conversations/{conversation_id}
        GET /api/v1/companies/{company}/conversations/{conversation_id}/messages
        POST /api/v1/companies/{company}/conversations/{conversation_id}/messages
        GET /api/v1/companies/{company}/runs/{run_id}
        GET /api/v1/companies/{company}/runs/{run_id}/events
        POST /api/v1/companies/{company}/runs/{run_id}/stop
        POST /api/v1/companies/{company}/runs/{run_id}/retry
        POST /api/v1/companies/{company}/runs/{run_id}/continue
        GET /c/{company}/schedules           POST /c/{company}/schedules
        GET /c/{company}/schedules/new       GET /c/{company}/schedules/{schedule_id}
        POST /c/{company}/schedules/{schedule_id}
        POST /c/{company}/schedules/{schedule_id}/pause
        POST /c/{company}/schedules/{schedule_id}/resume
        POST /c/{company}/schedules/{schedule_id}/run
        POST /c/{company}/schedules/{schedule_id}/remove
        GET /api/v1/companies/{company}/schedules
        POST /api/v1/companies/{company}/schedules
        GET /api/v1/companies/{company}/schedules/{schedule_id}
        PUT /api/v1/companies/{company}/schedules/{schedule_id}
        DELETE /api/v1/companies/{company}/schedules/{schedule_id}
        POST /api/v1/companies/{company}/schedules/{schedule_id}/pause
        POST /api/v1/companies/{company}/schedules/{schedule_id}/resume
        POST /api/v1/companies/{company}/schedules/{schedule_id}/run
        GET /api/v1/openai/models            POST /api/v1/openai/chat/completions
    """,
    May.AGENTS_READ: """
        GET /c/{company}/day-limits          GET /api/v1/companies/{company}/day-limits
        GET /c/{company}/agents              GET /c/{company}/agents/{agent_id}
        GET /c/{company}/model-routes        GET /api/v1/companies/{company}/model-routes
        GET /api/v1/companies/{company}/tools
        GET /api/v1/companies/{company}/agents/{agent_id}
        GET /c/{company}/agents/{agent_id}/versions
        GET /api/v1/companies/{company}/agents/{agent_id}/versions
    """,
    May.AGENTS_MANAGE: """
        POST /c/{company}/day-limits         PUT /api/v1/companies/{company}/day-limits
        POST /c/{company}/agents/{agent_id}  POST /c/{company}/agents/{agent_id}/tools
        POST /c/{company}/agents             POST /api/v1/companies/{company}/agents
        POST /c/{company}/agents/{agent_id}/folders
        POST /c/{company}/agents/{agent_id}/limits
        POST /c/{company}/agents/{agent_id}/retirement
        POST /c/{company}/agents/{agent_id}/versions
        POST /api/v1/companies/{company}/agents/{agent_id}/retirement
        DELETE /api/v1/companies/{company}/agents/{agent_id}/retirement
        POST /api/v1/companies/{company}/agents/{agent_id}/versions/{version}/restoration
        POST /c/{company}/agents/{agent_id}/route
        PUT /api/v1/companies/{company}/agents/{agent_id}/route
        PATCH /api/v1/companies/{company}/agents/{agent_id}
    """,
    May.APPROVALS_READ: """
        GET /c/{company}/approvals           GET /c/{company}/approvals/{approval_id}
        GET /api/v1/companies/{company}/approvals
        GET /c/{company}/approvals/settings  GET /api/v1/companies/{company}/approvals/rules
        GET /api/v1/companies/{company}/approvals/mail
        GET /api/v1/companies/{company}/approvals/grants
        GET /api/v1/companies/{company}/approvals/{approval_id}
    """,
    May.APPROVALS_DECIDE: """
        POST /c/{company}/approvals/{approval_id}/decision
        POST /c/{company}/approvals/decision POST /c/{company}/approvals/settings/mail
        POST /api/v1/companies/{company}/approvals/decision
        PUT /api/v1/companies/{company}/approvals/mail
        POST /c/{company}/grants/{grant_id}/revoke
        POST /api/v1/companies/{company}/approvals/{approval_id}/decision
        DELETE /api/v1/companies/{company}/approvals/grants/{grant_id}
    """,
}


def lawful() -> dict[str, Audience | May]:
    """Return who may call each route, by method and path."""
    found: dict[str, Audience | May] = {}
    for who, text in LAW.items():
        words = text.split()
        for method, path in zip(words[::2], words[1::2], strict=True):
            assert f"{method} {path}" not in found, f"{method} {path} is in the law twice"
            found[f"{method} {path}"] = who
    return found
