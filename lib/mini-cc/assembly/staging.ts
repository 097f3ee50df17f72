import type { DeaHttp } from '../agents/dea-http.js';
import type { App } from '../apps/app.js';
import type { StagerClient } from '../diego/stager-client.js';
import type { Cells } from '../placement/cells.js';
import { DiegoStager } from '../staging/diego-stager.js';
import { StagingExpiry } from '../staging/expiry.js';
import { StagingIngredients } from '../staging/ingredients.js';
import { StagingOutcomes } from '../staging/outcomes.js';
import { Stager } from '../staging/stager.js';
import { Stagers } from '../staging/stagers.js';
import type { ControlOptions } from './control-options.js';
import { diegoContext, messageContext } from './settings.js';

/** Those who take stagings, and who hears of what was staged. */
export interface StagingPeers {
  cells: Cells;
  http: DeaHttp | undefined;
  stagerClient: StagerClient;
  /** `startsFirst` tells that the stager starts the first instance itself. */
  onStaged(app: App, startsFirst: boolean): Promise<void>;
}

/** The stagers of both sides, and what they share; nothing is started. */
export function assembleStaging(options: ControlOptions, { cells, http, stagerClient, onStaged }: StagingPeers) {
  const { config, access, stores, bus, urls, logger, now } = options;
  const { apps, buildpacks, events, blobs } = stores;
  const disableCustomBuildpacks = config.disable_custom_buildpacks;
  const ingredients = new StagingIngredients({ buildpacks, blobs, urls, disableCustomBuildpacks });
  const outcomes = new StagingOutcomes({ apps, buildpacks, events, logger });
  const stager = new Stager({
    ...{ bus, cells, apps, ingredients, outcomes, http, logger, now, onStaged },
    context: messageContext(config, access.spaceGuid),
    replyTimeoutMs: config.staging.timeout_in_seconds * 1000,
  });
  const diegoStager = new DiegoStager({
    ...{ apps, ingredients, outcomes, urls, logger, now },
    client: stagerClient,
    context: diegoContext(config, access.spaceGuid),
    credentials: access.internal,
    onStaged: (app) => onStaged(app, false),
  });
  const stagers = new Stagers({ dea: stager, diego: diegoStager });
  const expiry = new StagingExpiry({
    ...{ apps, stagers, outcomes, now },
    expirationMs: config.pending_packages.expiration_in_seconds * 1000,
    checkMs: config.pending_packages.frequency_in_seconds * 1000,
  });
  return { ingredients, stager, diegoStager, stagers, expiry };
}
