import type { InstanceUpdate } from '../decisions/desired-lrps/lifecycle.js';
import type { ActualLRP, CellPresence } from '../messages/models.js';
import { OutsideFailure } from '../outside-failure.js';
import type { PeerClient } from './peer-client.js';
import type { Reps } from './peers.js';

/** Asks reps over HTTP (docs/protocol/bbs.md §13). */
export class HttpReps implements Reps {
  constructor(private readonly client: PeerClient) {}

  async stopInstance(
    cell: CellPresence,
    { actualLrpKey, actualLrpInstanceKey }: ActualLRP,
    traceId: string,
  ): Promise<void> {
    const { processGuid } = actualLrpKey;
    const path = instancePath(processGuid, actualLrpInstanceKey.instanceGuid);
    await this.#send('POST', cell, `/v1${path}/stop`, undefined, traceId);
  }

  async updateInstance(cell: CellPresence, update: InstanceUpdate, traceId: string): Promise<void> {
    const { processGuid } = update.instance.actualLrpKey;
    const path = instancePath(processGuid, update.instance.actualLrpInstanceKey.instanceGuid);
    const status = await this.#status('PUT', cell, `/v2${path}`, updateBody(update), traceId);
    if (status === 202) return;
    if (status !== 404) throw refused(cell, status);
    // A rep of before 2023 knows no tags.
    if (!update.internalRoutes) return;
    await this.#send('PUT', cell, `/v1${path}`, updateBody({ ...update, metricTags: undefined }), traceId);
  }

  async cancelTask(cell: CellPresence, taskGuid: string, traceId: string): Promise<void> {
    await this.#send('POST', cell, `/v1/tasks/${encodeURIComponent(taskGuid)}/cancel`, undefined, traceId);
  }

  async #send(
    method: 'POST' | 'PUT',
    cell: CellPresence,
    path: string,
    body: string | undefined,
    traceId: string,
  ): Promise<void> {
    const status = await this.#status(method, cell, path, body, traceId);
    if (status !== 202) throw refused(cell, status);
  }

  #status(
    method: 'POST' | 'PUT',
    { repUrl, repAddress }: CellPresence,
    path: string,
    body: string | undefined,
    traceId: string,
  ): Promise<number> {
    return this.client.send(method, `${repUrl === '' ? repAddress : repUrl}${path}`, body, traceId);
  }
}

function instancePath(processGuid: string, instanceGuid: string): string {
  return `/lrps/${encodeURIComponent(processGuid)}/instances/${encodeURIComponent(instanceGuid)}`;
}

function updateBody({
  instance,
  internalRoutes,
  metricTags,
}: Omit<InstanceUpdate, 'metricTags'> & { metricTags?: InstanceUpdate['metricTags'] | undefined }): string {
  const { actualLrpKey, actualLrpInstanceKey } = instance;
  return JSON.stringify({
    instance_guid: actualLrpInstanceKey.instanceGuid,
    process_guid: actualLrpKey.processGuid,
    index: actualLrpKey.index,
    domain: actualLrpKey.domain,
    internal_routes: internalRoutes ?? null,
    metric_tags: metricTags ? Object.fromEntries(metricTags) : null,
  });
}

function refused({ cellId }: CellPresence, status: number): Error {
  return new OutsideFailure(`the rep of cell ${cellId} answered ${status}`);
}
