import type { App, ServiceBinding } from '../apps/app.js';
import type { EgressRule, Limits, ServiceMessage, StagingMessage, StartMessage } from '../messages.js';

/** What all messages about apps have from the configuration. */
export interface MessageContext {
  ccPartition: string;
  spaceName: string;
  spaceGuid: string;
  runningEnvironment: Record<string, unknown>;
  stagingEnvironment: Record<string, unknown>;
  runningRules: EgressRule[];
  stagingRules: EgressRule[];
  /** Fewest file descriptors of a staging. */
  minimumStagingFileDescriptors: number;
}

/** The droplet that an instance is to run; both null when the stager has it. */
export interface DropletReference {
  sha1: string | null;
  url: string | null;
}

/** A start message with every field (docs/protocol/legacy-cc.md §3). Pure. */
export function startMessage(
  app: App,
  index: number,
  droplet: DropletReference,
  context: MessageContext,
): StartMessage {
  return {
    droplet: app.guid,
    name: app.name,
    stack: app.stack,
    uris: app.routes,
    prod: false,
    sha1: droplet.sha1,
    executableFile: 'deprecated',
    executableUri: droplet.url,
    version: app.version,
    services: app.services.map(serviceMessage),
    limits: limitsOf(app),
    env: environmentEntries({ ...context.runningEnvironment, ...app.env, CF_PROCESS_TYPE: 'web' }),
    cc_partition: context.ccPartition,
    console: false,
    debug: null,
    start_command: app.command,
    health_check_timeout: app.health_check_timeout,
    vcap_application: vcapApplication(app, context),
    index,
    egress_network_rules: context.runningRules,
  };
}

/** Where the stager finds and leaves things. */
export interface StagingLinks {
  package: string;
  dropletUpload: string;
  /** Null when there is no cache yet. */
  cacheDownload: string | null;
  cacheUpload: string;
  /** Usable buildpacks in detection order. */
  buildpacks: { name: string; key: string; url: string }[];
}

/** A staging message with the complete start message of the first instance (docs/protocol/legacy-cc.md §5.1). Pure. */
export function stagingMessage(app: App, taskId: string, links: StagingLinks, context: MessageContext): StagingMessage {
  return {
    app_id: app.guid,
    stack: app.stack,
    task_id: taskId,
    properties: {
      services: app.services.map(serviceMessage),
      resources: {
        memory: app.memory,
        disk: app.disk_quota,
        fds: Math.max(app.file_descriptors, context.minimumStagingFileDescriptors),
      },
      environment: environmentEntries({ ...context.stagingEnvironment, ...app.env, CF_STACK: app.stack }),
      meta: { ...(app.command !== null && { command: app.command }), console: false },
      ...chosenBuildpack(app, links),
    },
    download_uri: links.package,
    upload_uri: links.dropletUpload,
    buildpack_cache_download_uri: links.cacheDownload,
    buildpack_cache_upload_uri: links.cacheUpload,
    start_message: startMessage(app, 0, { sha1: null, url: null }, context),
    admin_buildpacks: links.buildpacks.map(({ key, url }) => ({ key, url })),
    egress_network_rules: context.stagingRules,
  };
}

/** An operator's buildpack by its key, any other one by its URL, detection by neither. */
function chosenBuildpack(app: App, { buildpacks }: StagingLinks): Partial<StagingMessage['properties']> {
  if (app.buildpack === null) return {};
  const known = buildpacks.find(({ name }) => name === app.buildpack);
  return known ? { buildpack_key: known.key } : { buildpack: app.buildpack, buildpack_git_url: app.buildpack };
}

function limitsOf(app: App): Limits {
  return { mem: app.memory, disk: app.disk_quota, fds: app.file_descriptors };
}

/** `VCAP_APPLICATION` as far as the Cloud Controller knows it; cells add what is of an instance. Pure. */
export function vcapApplication(
  app: App,
  context: Pick<MessageContext, 'spaceName' | 'spaceGuid'>,
): Record<string, unknown> {
  return {
    limits: limitsOf(app),
    application_id: app.guid,
    application_version: app.version,
    application_name: app.name,
    application_uris: app.routes,
    version: app.version,
    name: app.name,
    space_name: context.spaceName,
    space_id: context.spaceGuid,
    uris: app.routes,
    users: null,
  };
}

/** `VCAP_SERVICES`: the app's services by their labels. Pure. */
export function vcapServices(app: App): Record<string, ServiceMessage[]> {
  const byLabel: Record<string, ServiceMessage[]> = {};
  for (const service of app.services.map(serviceMessage)) {
    byLabel[service.label] = [...(byLabel[service.label] ?? []), service];
  }
  return byLabel;
}

/** `NAME=value`; readers split at the first `=`, so values may hold more of them. */
function environmentEntries(variables: Record<string, unknown>): string[] {
  return Object.entries(variables).map(([name, value]) => `${name}=${environmentText(value)}`);
}

function environmentText(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

function serviceMessage(service: ServiceBinding): ServiceMessage {
  const { name, credentials, options, tags, syslog_drain_url, label, version, provider, plan } = service;
  const common = { credentials, options, syslog_drain_url, name, tags };
  if (label === 'user-provided') return { ...common, label };
  return {
    ...common,
    label: version === undefined ? label : `${label}-${version}`,
    provider: provider ?? null,
    vendor: label,
    plan: plan ?? 'default',
    ...(version !== undefined && { version }),
  };
}
