import type { TaskDefinition } from '../messages/models.js';
import { requiredActionFindings } from './actions.js';
import { annotationFindings, isRateTooLow } from './desired-lrp.js';
import { egressRuleFindings } from './egress-rules.js';
import { type Findings, when } from './findings.js';
import { credentialFindings, imageFindings } from './image.js';
import { isRootFileSystem } from './root-file-system.js';

/** docs/protocol/bbs.md §4.4. Variables, volume mounts and metric tags of tasks are not looked at. */
export function taskDefinitionFindings(definition: TaskDefinition): Findings {
  return [
    ...when(!isRootFileSystem(definition.rootFs), 'rootfs'),
    ...requiredActionFindings(definition.action),
    ...when(definition.memoryMb < 0, 'memory_mb'),
    ...when(definition.diskMb < 0, 'disk_mb'),
    ...when(isRateTooLow(definition), 'log_rate_limit'),
    ...when(definition.maxPids < 0, 'max_pids'),
    ...annotationFindings(definition.annotation),
    ...definition.egressRules.flatMap((rule) => when(egressRuleFindings(rule).length > 0, 'egress_rules')),
    ...credentialFindings(definition),
    ...imageFindings(definition),
  ];
}
