import type { MessageContext, StagingLinks } from '../agents/app-messages.js';
import type { App } from '../apps/app.js';
import { diegoEgressRules } from './egress-rules.js';
import { diegoEnvironment } from './environment.js';
import { processGuid } from './guids.js';
import type { BuildpackEntry, DesireMessage, StagingRequest } from './messages.js';

/** What all messages to a CC-bridge have from the configuration; MB, seconds. */
export interface DiegoContext extends MessageContext {
  defaultHealthCheckTimeout: number;
  allowSsh: boolean;
  minimumStagingMemoryMb: number;
  minimumStagingDiskMb: number;
  stagingTimeoutSeconds: number;
}

/**
 * What nsync is to have run of an app (docs/protocol/legacy-cc.md §9.1). Pure.
 *
 * @param droplet the droplet's SHA-1, and where it can be fetched without credentials
 */
export function desireMessage(app: App, droplet: { sha1: string; url: string }, context: DiegoContext): DesireMessage {
  return {
    process_guid: processGuid(app),
    memory_mb: app.memory,
    disk_mb: app.disk_quota,
    file_descriptors: app.file_descriptors,
    droplet_uri: droplet.url,
    droplet_hash: droplet.sha1,
    stack: app.stack,
    // A droplet that a cell of the DEA kind has staged has no execution metadata.
    start_command: app.command ?? app.detected_start_command,
    execution_metadata: app.execution_metadata ?? '',
    environment: diegoEnvironment(app, context.runningEnvironment, context),
    num_instances: app.state === 'STARTED' ? app.instances : 0,
    routes: app.routes,
    routing_info: { http_routes: app.routes.map((hostname) => ({ hostname })) },
    log_guid: app.guid,
    log_source: 'APP',
    health_check_type: app.health_check_type,
    health_check_timeout_in_seconds: app.health_check_timeout ?? context.defaultHealthCheckTimeout,
    egress_rules: diegoEgressRules(context.runningRules),
    etag: etagOf(app),
    allow_ssh: context.allowSsh,
  };
}

/** The time of the app's last change in seconds, as text. Pure. */
export function etagOf({ updated_at }: Pick<App, 'updated_at'>): string {
  return (Date.parse(updated_at) / 1000).toFixed(3);
}

/**
 * What the stager is to stage (docs/protocol/legacy-cc.md §9.1). Pure.
 *
 * @param completionCallback where the bridge tells of the end
 */
export function stagingRequest(
  app: App,
  links: StagingLinks,
  completionCallback: string,
  context: DiegoContext,
): StagingRequest {
  return {
    app_id: app.guid,
    log_guid: app.guid,
    file_descriptors: Math.max(app.file_descriptors, context.minimumStagingFileDescriptors),
    memory_mb: Math.max(app.memory, context.minimumStagingMemoryMb),
    disk_mb: Math.max(app.disk_quota, context.minimumStagingDiskMb),
    environment: diegoEnvironment(app, context.stagingEnvironment, context),
    timeout: context.stagingTimeoutSeconds,
    egress_rules: diegoEgressRules(context.stagingRules),
    lifecycle: 'buildpack',
    lifecycle_data: {
      app_bits_download_uri: links.package,
      ...(links.cacheDownload !== null && { build_artifacts_cache_download_uri: links.cacheDownload }),
      build_artifacts_cache_upload_uri: links.cacheUpload,
      droplet_upload_uri: links.dropletUpload,
      stack: app.stack,
      buildpacks: buildpackEntries(app, links),
    },
    completion_callback: completionCallback,
  };
}

/** The one that the app names, an operator's or any other; else all, for detection. */
function buildpackEntries({ buildpack }: App, { buildpacks }: StagingLinks): BuildpackEntry[] {
  if (buildpack === null) return buildpacks;
  const known = buildpacks.find(({ name }) => name === buildpack);
  return [{ ...(known ?? { name: 'custom', key: buildpack, url: buildpack }), skip_detect: true }];
}
