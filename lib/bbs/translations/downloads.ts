import { wrap } from '../messages/inner-action.js';
import {
  type Action,
  CachedDependency,
  DownloadAction,
  type ImageLayer,
  ImageLayerDigestAlgorithm,
  ImageLayerType,
  ParallelAction,
  SerialAction,
} from '../messages/models.js';

/** What brought files into containers before there were image layers, and before that (docs/protocol/bbs.md §2.1). */

/** Layers that containers share, as dependencies. */
export function sharedLayersAsDependencies(layers: readonly ImageLayer[]): CachedDependency[] {
  return layers
    .filter(({ layerType }) => layerType === ImageLayerType.SHARED)
    .map((layer) => {
      const checksumAlgorithm = algorithmOf(layer);
      return CachedDependency.create({
        name: layer.name,
        from: layer.url,
        to: layer.destinationPath,
        checksumAlgorithm,
        checksumValue: layer.digestValue,
        cacheKey: layer.digestValue === '' ? layer.url : `${checksumAlgorithm}:${layer.digestValue}`,
      });
    });
}

/** Layers that one container has for itself, as downloads before an action. */
export function afterExclusiveLayers(
  layers: readonly ImageLayer[],
  user: string,
  action: Action | undefined,
): Action | undefined {
  const downloads = layers
    .filter(({ layerType }) => layerType === ImageLayerType.EXCLUSIVE)
    .map((layer) =>
      DownloadAction.create({
        artifact: layer.name,
        from: layer.url,
        to: layer.destinationPath,
        cacheKey: `${algorithmOf(layer)}:${layer.digestValue}`,
        user,
        checksumAlgorithm: algorithmOf(layer),
        checksumValue: layer.digestValue,
      }),
    );
  if (downloads.length === 0) return action;
  return action ? inSeries([inParallel(downloads), action]) : inParallel(downloads);
}

/** Dependencies as downloads before an action. */
export function afterDependencies(
  dependencies: readonly CachedDependency[],
  user: string,
  action: Action | undefined,
): Action | undefined {
  if (dependencies.length === 0) return action;
  const downloads = dependencies.map(({ name, from, to, cacheKey, logSource }) =>
    DownloadAction.create({ artifact: name, from, to, cacheKey, logSource, user }),
  );
  return inSeries([inParallel(downloads), ...(action ? [action] : [])]);
}

function inParallel(downloads: readonly DownloadAction[]): Action {
  const actions = downloads.map((action) => wrap({ kind: 'download', action }));
  return wrap({ kind: 'parallel', action: ParallelAction.create({ actions }) });
}

function inSeries(actions: readonly Action[]): Action {
  return wrap({ kind: 'serial', action: SerialAction.create({ actions }) });
}

function algorithmOf({ digestAlgorithm }: ImageLayer): string {
  if (digestAlgorithm === ImageLayerDigestAlgorithm.DigestAlgorithmInvalid) return '';
  const names = Object.entries(ImageLayerDigestAlgorithm);
  return (names.find(([, value]) => value === digestAlgorithm)?.[0] ?? String(digestAlgorithm)).toLowerCase();
}
