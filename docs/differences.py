"""Deliberate differences from Cinder: the table of docs/reference/api.md."""

from __future__ import annotations

#: (subject, Cinder, this service, reason).
DIFFERENCES = (
    (
        'any request',
        'some malformed requests end in 500',
        '400, 404 or 413 in the same shape',
        'The client can correct the request; a 500 is always a fault of the service.',
    ),
    (
        'a record of another project',
        'some paths return 403 or 500',
        '404',
        'Only the owning project may know whether it exists.',
    ),
    (
        '`PUT /os-services/enable`, `/disable`',
        '29.0.0 returns 200 and saves nothing',
        'saved and respected by the scheduler',
        'The documented effect, and that of every earlier release.',
    ),
    (
        '`PUT /os-services/failover_host`',
        '202 for backends that replicate',
        'always 400, with the message for a backend that does not replicate',
        'No driver replicates; a fail-over would only make the volumes unavailable.',
    ),
    (
        '`/clusters`',
        'groups of services that an operator configured',
        'one per backend, with its name and one service',
        'Any number of workers serves a backend at once: [decision 15](../decisions/0015-services-without-servers.md).',
    ),
    (
        '`POST /workers/cleanup`',
        'starts cleanup of services that stopped',
        'always returns that no service needs cleanup',
        'The reconciler continues overdue work each minute, from any process.',
    ),
    (
        '`PUT /os-services/get-log`, `/set-log`',
        'levels of every process',
        'the level of the responding process; the level of other functions is a parameter of the deployment; 400 for '
        'the SDK and other libraries',
        'Functions have no address and no permanent process. Below WARNING the SDK logs keys and passwords.',
    ),
    (
        '`PUT /os-hosts`, `PUT /os-hosts/{{id}}`',
        'routed by accident; 500',
        '400 that names the supported methods',
        'No client calls them.',
    ),
    (
        'other accidental routes (`POST /types/{{id}}/action create`, `POST /groups/action delete`, ...)',
        '400 or 404',
        '400 or 404',
        'They never had an effect.',
    ),
    (
        '`os-unmanage`',
        'the object keeps its name, `volume-<id>` (LVM)',
        'the object is renamed to `unmanaged-<name>`, appears in the list of manageable objects, and can be '
        'managed under either name',
        'It cannot be mistaken for an orphan: [decision 17](../decisions/0017-managing.md).',
    ),
    (
        '`backup_service` of a backup record',
        '`cinder.backup.drivers.s3.S3BackupDriver`',
        '`cinder.backup.drivers.cinderless.S3BackupDriver`',
        'Cinder rejects a record whose format it does not know, instead of failing during a restore.',
    ),
    (
        'pages of a list',
        'a next link repeats `offset`, so that every page skips records',
        'a next link has no `offset`',
        'Following the links returns every record once.',
    ),
    (
        'very long lists',
        'a page has `limit` records',
        'a page above 5 MB is shortened and has a next link',
        'A response of Lambda has at most 6 MB.',
    ),
    (
        'a body without `Content-Type`',
        '500',
        'read as JSON',
        'The client means JSON.',
    ),
    (
        'a body of more than 112 KiB',
        '413 as text',
        '413 in the shape of every fault',
        'A client parses one shape.',
    ),
    (
        'a body of more than 100 levels',
        'read, and rejected for its content',
        '400',
        'No body of the API has six levels; parsers of deeper ones recurse.',
    ),
    (
        'a system-scoped token without a project',
        'accepted where no project is needed',
        '403 that requires a project scope',
        "Records belong to projects; an administrator's `all_tenants` returns all.",
    ),
    (
        '`PUT /types/{{id}}`',
        'renames the default type; creates without a type then fail',
        'rejects renaming the default type',
        'The configuration names it.',
    ),
    (
        '`PUT /default-types/{{id}}`',
        'checks in Keystone whether the project exists',
        'accepts any project',
        'A default type of a missing project has no effect.',
    ),
    (
        'QoS specs',
        'invalid numbers per GiB fail at attach',
        'rejected when they are set',
        'The operator can correct them; the user who attaches cannot.',
    ),
    (
        'groups',
        'any number of volumes',
        'at most 47 volumes, which are deleted with their group, never alone',
        'Each operation on a group is one transaction: [decision 11](../decisions/0011-groups.md).',
    ),
    (
        'replication of groups',
        'the driver handles it',
        'checked and accepted; `replication_status` becomes error, with a user message; no targets',
        'No driver replicates.',
    ),
    (
        'volumes from images, images of volumes',
        'every format that qemu-img converts, also by the locations of an image',
        'raw in a bare container, streamed through Glance and verified; other formats are rejected (400)',
        'References in other formats (backing files, data files, descriptors) were used to attack Cinder.',
    ),
    (
        'a volume of an encrypted type from an image',
        'encrypted during the copy',
        '400; the image can be copied onto an empty volume in a server',
        'The compute host encrypts; a key never reaches a worker.',
    ),
    (
        '`POST /volumes` with `backup_id`',
        'the backup stays `available` until the volume service begins to restore it',
        'the backup is `restoring` from the acceptance of the request',
        'Otherwise the backup could be deleted, or restored a second time, and the volume would end in `error`.',
    ),
    (
        '`os-initialize_connection`, attachments with a connector',
        'in every status except maintenance; the export outlives a transfer, a restore, a reimage, ...',
        '400 while the data is created, moved, replaced, deleted or offered for transfer; operations that '
        'change the right to the data end existing exports first',
        'A former owner keeps no access: [decision 44](../decisions/0044-exports-are-recorded.md).',
    ),
    (
        '`GET /attachments/detail`, `/attachments/{id}`',
        '`connection_info` has the CHAP secret for every role of the project',
        'without the secret for callers that may not connect an attachment (readers, a role `service` alone)',
        'With it, a reader could read and write the data.',
    ),
    (
        'attaching and detaching while a backend does not answer',
        '500 after a time-out of the message bus',
        '503 with Retry-After, records and exports unchanged; an outage of some seconds only delays the response',
        'The client can repeat the request.',
    ),
    (
        '`os-reimage` of a volume that a host is connected to',
        'accepted',
        '409',
        'The data would change under the host.',
    ),
    (
        'volume transfers',
        'any number of snapshots; membership in a group is checked at acceptance',
        'at most 46 snapshots; a volume in a group cannot be offered',
        'Acceptance is one transaction: [decision 10](../decisions/0010-transfers.md).',
    ),
    (
        'limits (`GET /limits`)',
        '`rate` lists configured rate limits, by user',
        'one limit by project for all verbs (`ProjectRateLimit`), off by default',
        '[Decision 53](../decisions/0053-rate-limits.md)',
    ),
    (
        '`DELETE /backups/{{id}}` of a full backup with incremental ones',
        '400: incremental backups exist',
        '202; objects that the incremental backups need stay until the last of them is deleted',
        'Deleting any backup is safe: [decision 4](../decisions/0004-backup-format.md).',
    ),
    (
        '`has_dependent_backups`',
        'true means that the backup cannot be deleted',
        'true means that incremental backups were made from it; it can be deleted',
        'Clients show the field, and strict clients require it.',
    ),
    (
        'metadata, image metadata, connectors, extra specs, scheduler hints, attachments of a volume, ...',
        'as much as the database accepts',
        'bounded in entries and bytes; 400 that names the limit',
        'A record always has space for the write that ends it: [decision 47](../decisions/0047-bounds.md).',
    ),
    (
        'user messages, `fail_reason`, bodies of 5xx',
        'quote drivers',
        'one sentence; administrators read the whole error',
        'Errors of drivers have internal names: [decision 48](../decisions/0048-sentences-for-users.md).',
    ),
    (
        'user messages',
        'for some failures',
        'for every failed operation, with codes of 101 and above where Cinder has none',
        'Users need the reason.',
    ),
    (
        'filters of `GET /volume-transfers`',
        'any column, also the hash of the key',
        'the fields that a transfer shows; a filter by any other name matches nothing',
        'A reader could extract the hash, character by character.',
    ),
    (
        'sort keys',
        'any column',
        'any column except secret ones',
        'The order reveals them.',
    ),
    (
        '`GET /volumes?status=`',
        'compares stored statuses only',
        'a status that is shown under another name (`managing` as `creating`) matches by both',
        'Clients can filter by what a list shows.',
    ),
    (
        '`os-reset_status`',
        'changes the status fields',
        'also releases the reservations of the interrupted operation, and ends exports before it detaches',
        'Nothing leaks.',
    ),
    (
        '`POST /attachments` with a connector that fails',
        'leaves the volume reserved',
        'leaves no attachment',
        'The client did not receive its id.',
    ),
    (
        '`POST /backups/{{id}}/restore` to a new volume',
        'responds when the volume is created',
        'responds immediately',
        'A request has 29 seconds.',
    ),
    (
        'an unknown key of metadata, a version header without a blank, an `extra_specs` filter that is not a map',
        '500',
        '404 or 400',
        'The client can correct it.',
    ),
    (
        '`DELETE /groups/{{id}}` and other routes without a handler',
        '500, or 404 named itemNotFound, after the token was checked',
        "the router's 404, without a check of the token",
        'API Gateway responds for undeclared methods.',
    ),
    (
        'OPTIONS with `CorsAllowedOrigins`',
        'every path',
        "the paths without the project's id",
        'Each method needs 700 bytes of a template with at most 1 MB.',
    ),
    (
        '`GET /v3/`',
        'needs a token',
        'needs no token, like `GET /`',
        'Clients discover versions before they authenticate.',
    ),
    (
        'responses of API Gateway itself (413, 404 of an unknown path, 504)',
        '`x-openstack-request-id`',
        '`x-amzn-RequestId` only',
        'API Gateway cannot create a header from its request id.',
    ),
    (
        'X-Forwarded-Proto',
        'used if `enable_proxy_headers_parsing` is set',
        'always used',
        'API Gateway sets it.',
    ),
    (
        'keys in the built-in key manager',
        '(Barbican) the payload in the format of the Accept header',
        'bytes; `application/octet-stream` must be the first type of the Accept header, otherwise 406',
        'API Gateway converts base64 to bytes only by that type.',
    ),
    (
        'passwords (built-in identity)',
        '(Keystone) lockout of the account if configured',
        '429 per user and address; guesses by others do not lock a user out',
        '[Security](../explanation/security.md#password-guessing)',
    ),
    (
        '`cinderless:` fields, `?progress`, `?method`, `?dry_run`, `/backup-schedules`, `/operations`, '
        '`/os-services/dead-letters`, scrubs, drills, copies',
        'none',
        'extensions',
        'Strict clients do not see them unless they use them.',
    ),
    (
        '`container` of a backup',
        'at most 255 characters',
        'also at most 512 bytes, printable, and without parts between slashes that are empty, `.` or `..`',
        'It is part of S3 keys, which are measured in bytes and listed as XML.',
    ),
    (
        "a connector's `initiator`",
        'accepted as it is',
        '400 if another project uses the name, or the compute hosts do; requests with a service token and '
        'administrators may use any name. Nova must send its service token, as Cinder requires since '
        'CVE-2023-2088',
        "A member could add its targets to another host's response, and read that host's CHAP account where a"
        ' backend has one account for each host.',
    ),
    (
        '`Idempotency-Key` header of POST',
        'none',
        'a repeated request gets the first response: [below](#repeat-a-post)',
        'A client that got no response repeats the request, and nothing is made twice: '
        '[decision 61](../decisions/0061-idempotency-keys.md).',
    ),
)
