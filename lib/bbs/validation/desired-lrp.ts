import type {
  Check,
  CheckDefinition,
  DesiredLRP,
  DesiredLRPUpdate,
  EnvironmentVariable,
  File,
  ProtoRoutes,
  Sidecar,
  VolumeMount,
} from '../messages/models.js';
import { actionFindings, requiredActionFindings } from './actions.js';
import { egressRuleFindings } from './egress-rules.js';
import { type Findings, invalidField, when, within } from './findings.js';
import { credentialFindings, imageFindings } from './image.js';
import { isGuid, maximumAnnotationBytes, maximumMountedFilesBytes, maximumRoutesBytes } from './limits.js';
import { metricTagFindings } from './metric-tags.js';
import { isRootFileSystem } from './root-file-system.js';

/** docs/protocol/bbs.md §4.2. Some fields are told twice there: once for the LRP, once for its run info. */
export function desiredLrpFindings(desired: DesiredLRP): Findings {
  return [
    ...mountedFileFindings(desired.volumeMountedFiles),
    ...when(desired.domain === '', 'domain'),
    ...when(desired.rootFs === '', 'rootfs'),
    ...when(!isRootFileSystem(desired.rootFs), 'rootfs'),
    ...when(desired.instances < 0, 'instances'),
    ...when(desired.memoryMb < 0, 'memory_mb'),
    ...when(desired.diskMb < 0, 'disk_mb'),
    ...when(isRateTooLow(desired), 'log_rate_limit_bytes_per_second'),
    ...annotationFindings(desired.annotation),
    ...when(desired.maxPids < 0, 'max_pids'),
    ...routeFindings(desired.routes),
    // After decoding, an empty map is none.
    ...when(desired.metricTags.size === 0, 'metric_tags'),
    ...metricTagFindings(desired.metricTags, desired.metricsGuid),
    ...runInfoFindings(desired),
  ];
}

/** docs/protocol/bbs.md §4.3 */
export function desiredLrpUpdateFindings(update: DesiredLRPUpdate): Findings {
  const hasUsername = update.imageUsername !== undefined;
  const hasPassword = update.imagePassword !== undefined;
  return [
    ...when((update.instances ?? 0) < 0, 'instances'),
    ...annotationFindings(update.annotation ?? ''),
    ...routeFindings(update.routes),
    ...metricTagFindings(update.metricTags, ''),
    ...when(hasUsername && !hasPassword, 'image_password'),
    ...when(hasPassword && !hasUsername, 'image_username'),
  ];
}

/** Of any annotation. */
export function annotationFindings(annotation: string): Findings {
  return when(Buffer.byteLength(annotation) > maximumAnnotationBytes, 'annotation');
}

/** Whether a limit is set that is below "none". */
export function isRateTooLow({ logRateLimit }: Pick<DesiredLRP, 'logRateLimit'>): boolean {
  return logRateLimit !== undefined && logRateLimit.bytesPerSecond < -1n;
}

function runInfoFindings(desired: DesiredLRP): Findings {
  return [
    ...when(desired.domain === '', 'domain'),
    ...when(!isGuid(desired.processGuid), 'process_guid'),
    ...mountedFileFindings(desired.volumeMountedFiles),
    ...(desired.setup ? within('setup', actionFindings(desired.setup)) : []),
    ...requiredActionFindings(desired.action),
    ...(desired.monitor ? within('monitor', actionFindings(desired.monitor)) : []),
    ...desired.environmentVariables.flatMap(variableFindings),
    ...desired.egressRules.flatMap((rule) => within('egress_rules', egressRuleFindings(rule))),
    ...imageFindings(desired),
    ...within('sidecars', desired.sidecars.flatMap(sidecarFindings)),
    ...desired.volumeMounts.flatMap(volumeMountFindings),
    ...credentialFindings(desired),
    ...checkDefinitionFindings(desired.checkDefinition),
    ...when(isRateTooLow(desired), 'log_rate_limit'),
  ];
}

function mountedFileFindings(files: readonly File[]): Findings {
  const bytes = files.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  return when(bytes > maximumMountedFilesBytes, 'volumeMountedFiles');
}

function routeFindings(routes: ProtoRoutes | undefined): Findings {
  const values = routes ? [...routes.routes.values()] : [];
  const bytes = values.reduce((sum, value) => sum + value.length, 0);
  return when(bytes > maximumRoutesBytes, 'routes');
}

function variableFindings({ name }: EnvironmentVariable): Findings {
  return name === '' ? ['invalid field: name cannot be blank'] : [];
}

function sidecarFindings(sidecar: Sidecar): Findings {
  return [
    ...requiredActionFindings(sidecar.action),
    ...when(sidecar.memoryMb < 0, 'memory_mb'),
    ...when(sidecar.diskMb < 0, 'disk_mb'),
  ];
}

function volumeMountFindings(mount: VolumeMount): Findings {
  const findings: string[] = [];
  if (mount.driver === '') findings.push('invalid volume_mount driver');
  if (mount.mode !== 'r' && mount.mode !== 'rw') findings.push('invalid volume_mount mode');
  if (mount.shared?.volumeId === '') findings.push('invalid volume_mount volume id');
  if (mount.dedicated?.mounterId === '') findings.push('invalid volume_mount mounter id');
  return findings;
}

function checkDefinitionFindings(definition: CheckDefinition | undefined): Findings {
  if (!definition) return [];
  return within('check_definition', [...definition.checks, ...definition.readinessChecks].flatMap(checkFindings));
}

function checkFindings({ tcpCheck, httpCheck }: Check): Findings {
  if (tcpCheck && httpCheck) return [invalidField('check')];
  const port = (httpCheck ?? tcpCheck)?.port ?? 0;
  return when(port < 1 || port > 65_535, 'port');
}
