import { type DesiredLRP, DesiredLRPRunInfo, VolumePlacement } from '../../messages/models.js';
import { openMessage, openText, sealJson, sealMessage } from '../encryption/envelope.js';
import type { KeyRing } from '../encryption/key-ring.js';
import type { DesiredLrpRow } from '../schema/tables.js';
import {
  parseMetricTagValues,
  parsePlacementTags,
  parseRoutes,
  printMetricTagValues,
  printPlacementTags,
  printRoutes,
} from './json-columns.js';

/**
 * A desired LRP as a row (docs/protocol/bbs.md §15).
 *
 * @param createdAt when it was desired, ns; in the row, and nowhere else
 */
export function desiredLrpRow(desired: DesiredLRP, createdAt: bigint, keys: KeyRing): DesiredLrpRow {
  const driverNames = desired.volumeMounts.map(({ driver }) => driver);
  return {
    process_guid: desired.processGuid,
    domain: desired.domain,
    log_guid: desired.logGuid,
    annotation: desired.annotation,
    instances: desired.instances,
    memory_mb: desired.memoryMb,
    disk_mb: desired.diskMb,
    rootfs: desired.rootFs,
    routes: sealJson(keys, printRoutes(desired.routes)),
    volume_placement: sealMessage(keys, VolumePlacement, VolumePlacement.create({ driverNames })),
    modification_tag_epoch: desired.modificationTag?.epoch ?? '',
    modification_tag_index: desired.modificationTag?.index ?? 0,
    run_info: sealMessage(keys, DesiredLRPRunInfo, runInfoOf(desired, createdAt)),
    placement_tags: printPlacementTags(desired.placementTags),
    max_pids: desired.maxPids,
    metric_tags: sealJson(keys, printMetricTagValues(desired.metricTags)),
    update_strategy: desired.updateStrategy,
  };
}

/** @throws Undecodable */
export function desiredLrpOf(row: DesiredLrpRow, keys: KeyRing): { desired: DesiredLRP; createdAt: bigint } {
  const runInfo = openMessage(keys, DesiredLRPRunInfo, row.run_info);
  const desired: DesiredLRP = {
    processGuid: row.process_guid,
    domain: row.domain,
    rootFs: row.rootfs,
    instances: row.instances,
    environmentVariables: runInfo.environmentVariables,
    setup: runInfo.setup,
    action: runInfo.action,
    startTimeoutMs: runInfo.startTimeoutMs,
    deprecatedStartTimeoutS: runInfo.deprecatedStartTimeoutS,
    monitor: runInfo.monitor,
    diskMb: row.disk_mb,
    memoryMb: row.memory_mb,
    cpuWeight: runInfo.cpuWeight,
    privileged: runInfo.privileged,
    // A Go board keeps those that were sent twice.
    ports: [...new Set(runInfo.ports)],
    routes: parseRoutes(openText(keys, row.routes)),
    logSource: runInfo.logSource,
    logGuid: row.log_guid,
    metricsGuid: runInfo.metricsGuid,
    annotation: row.annotation ?? '',
    egressRules: runInfo.egressRules,
    modificationTag: { epoch: row.modification_tag_epoch, index: row.modification_tag_index ?? 0 },
    cachedDependencies: runInfo.cachedDependencies,
    legacyDownloadUser: runInfo.legacyDownloadUser,
    trustedSystemCertificatesPath: runInfo.trustedSystemCertificatesPath,
    volumeMounts: runInfo.volumeMounts,
    network: runInfo.network,
    placementTags: row.placement_tags === null ? [] : parsePlacementTags(row.placement_tags),
    maxPids: row.max_pids ?? 0,
    certificateProperties: runInfo.certificateProperties,
    imageUsername: runInfo.imageUsername,
    imagePassword: runInfo.imagePassword,
    checkDefinition: runInfo.checkDefinition,
    imageLayers: runInfo.imageLayers,
    // Before the column there was, they stood in the run info.
    metricTags: row.metric_tags === null ? runInfo.metricTags : parseMetricTagValues(openText(keys, row.metric_tags)),
    sidecars: runInfo.sidecars,
    logRateLimit: runInfo.logRateLimit,
    volumeMountedFiles: runInfo.volumeMountedFiles,
    updateStrategy: row.update_strategy as DesiredLRP['updateStrategy'],
  };
  return { desired, createdAt: runInfo.createdAt };
}

function runInfoOf(desired: DesiredLRP, createdAt: bigint): DesiredLRPRunInfo {
  return {
    desiredLrpKey: { processGuid: desired.processGuid, domain: desired.domain, logGuid: desired.logGuid },
    environmentVariables: desired.environmentVariables,
    setup: desired.setup,
    action: desired.action,
    monitor: desired.monitor,
    deprecatedStartTimeoutS: desired.deprecatedStartTimeoutS,
    privileged: desired.privileged,
    cpuWeight: desired.cpuWeight,
    ports: desired.ports,
    egressRules: desired.egressRules,
    logSource: desired.logSource,
    metricsGuid: desired.metricsGuid,
    createdAt,
    cachedDependencies: desired.cachedDependencies,
    legacyDownloadUser: desired.legacyDownloadUser,
    trustedSystemCertificatesPath: desired.trustedSystemCertificatesPath,
    volumeMounts: desired.volumeMounts,
    network: desired.network,
    startTimeoutMs: desired.startTimeoutMs,
    certificateProperties: desired.certificateProperties,
    imageUsername: desired.imageUsername,
    imagePassword: desired.imagePassword,
    checkDefinition: desired.checkDefinition,
    imageLayers: desired.imageLayers,
    metricTags: new Map(),
    sidecars: desired.sidecars,
    logRateLimit: desired.logRateLimit,
    volumeMountedFiles: desired.volumeMountedFiles,
  };
}
