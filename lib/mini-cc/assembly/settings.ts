import type { MessageContext } from '../agents/app-messages.js';
import type { AppRules } from '../apps/app-controller.js';
import { bridgeKeys, type MiniCcConfig } from '../config.js';
import type { DiegoContext } from '../diego/app-messages.js';
import type { EgressRule } from '../messages.js';

/** One organisation, one space, one user. */
const spaceName = 'dev';
const bytesPerMegabyte = 1024 * 1024;

/** What messages about all apps have in common. */
export function messageContext(config: MiniCcConfig, spaceGuid: string): MessageContext {
  const rulesOf = (names: string[]): EgressRule[] =>
    config.security_group_definitions.filter(({ name }) => names.includes(name)).flatMap(({ rules }) => rules);
  return {
    ccPartition: config.cc_partition,
    spaceName,
    spaceGuid,
    runningEnvironment: config.running_environment_variables,
    stagingEnvironment: config.staging_environment_variables,
    runningRules: rulesOf(config.default_running_security_groups),
    stagingRules: rulesOf(config.default_staging_security_groups),
    minimumStagingFileDescriptors: config.staging.minimum_staging_file_descriptor_limit,
  };
}

/** What messages to a CC-bridge have in common. */
export function diegoContext(config: MiniCcConfig, spaceGuid: string): DiegoContext {
  return {
    ...messageContext(config, spaceGuid),
    defaultHealthCheckTimeout: config.default_health_check_timeout,
    allowSsh: config.allow_app_ssh_access,
    minimumStagingMemoryMb: config.staging.minimum_staging_memory_mb,
    minimumStagingDiskMb: config.staging.minimum_staging_disk_mb,
    stagingTimeoutSeconds: Math.ceil(config.staging.timeout_in_seconds),
  };
}

export function appRules(config: MiniCcConfig): AppRules {
  return {
    defaultStack: config.default_stack,
    defaultMemory: config.default_app_memory,
    defaultDisk: config.default_app_disk_in_mb,
    maximumDisk: config.maximum_app_disk_in_mb,
    fileDescriptors: config.instance_file_descriptor_limit,
    maximumHealthCheckTimeout: config.maximum_health_check_timeout,
    defaultDiego: config.default_to_diego_backend,
    canSelectBackend: config.users_can_select_backend,
    hasBridge: bridgeKeys.every((key) => config[key] !== undefined),
  };
}

/** How large uploads may be, in bytes. */
export function byteLimits(config: MiniCcConfig): { package: number; droplet: number; buildpack: number } {
  return {
    package: config.maximum_package_size_mb * bytesPerMegabyte,
    droplet: config.maximum_droplet_size_mb * bytesPerMegabyte,
    buildpack: config.maximum_buildpack_size_mb * bytesPerMegabyte,
  };
}
