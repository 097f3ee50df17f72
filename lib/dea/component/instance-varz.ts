import type { Instance } from '../instances/instance.js';

/** Message keys that are told under their own name. Secrets are among the others. */
const messageKeys = [
  ...(['stack', 'prod', 'executableFile', 'limits', 'cc_partition', 'console', 'debug', 'start_command'] as const),
  ...(['health_check_timeout', 'vcap_application', 'egress_network_rules'] as const),
];

/** What `/varz` says of one instance (docs/protocol/dea.md §22.3): never its services, environment or droplet URL. */
export function instanceVarz(instance: Instance): Record<string, unknown> {
  const { attributes, stats, state } = instance;
  const { startMessage } = attributes;
  return {
    ...Object.fromEntries(messageKeys.filter((key) => key in startMessage).map((key) => [key, startMessage[key]])),
    instance_index: attributes.instanceIndex,
    application_version: attributes.applicationVersion,
    application_name: attributes.applicationName,
    application_uris: attributes.applicationUris,
    application_id: attributes.applicationId,
    droplet_sha1: attributes.dropletSha1,
    instance_id: attributes.instanceId,
    private_instance_id: attributes.privateInstanceId,
    state,
    state_timestamp: instance.stateSinceMs / 1000,
    ...Object.fromEntries(
      instance.stateTimestampsMs.map(([name, timeMs]) => [`state_${name.toLowerCase()}_timestamp`, timeMs / 1000]),
    ),
    ...(instance.record && { warden_handle: instance.record.handle }),
    ...(instance.hasStartedProcess && { warden_job_id: 1 }),
    used_memory_in_bytes: stats.memoryBytes,
    used_disk_in_bytes: stats.diskBytes,
    computed_pcpu: stats.cpu,
  };
}

/** All instances, by app and by id. */
export function instanceRegistryVarz(instances: Instance[]): Record<string, Record<string, unknown>> {
  // Ids are anything that a message may have for one, also the names that every object knows.
  const byApplication = new Map<string, Map<string, unknown>>();
  for (const instance of instances) {
    const { applicationId } = instance.attributes;
    const ofApplication = byApplication.get(applicationId) ?? new Map<string, unknown>();
    byApplication.set(applicationId, ofApplication.set(instance.id, instanceVarz(instance)));
  }
  return Object.fromEntries([...byApplication].map(([id, ofApplication]) => [id, Object.fromEntries(ofApplication)]));
}
