import {
  type CachedDependency,
  type ImageLayer,
  ImageLayerDigestAlgorithm,
  ImageLayerMediaType,
  ImageLayerType,
} from '../messages/models.js';
import { checksumFindings } from './checksum.js';
import { type Findings, when, within } from './findings.js';

const layerTypes: readonly number[] = [ImageLayerType.SHARED, ImageLayerType.EXCLUSIVE];
const mediaTypes: readonly number[] = [ImageLayerMediaType.TGZ, ImageLayerMediaType.TAR, ImageLayerMediaType.ZIP];
const digestAlgorithms: readonly number[] = [ImageLayerDigestAlgorithm.SHA256, ImageLayerDigestAlgorithm.SHA512];

/** What brings files into a container: dependencies and layers (docs/protocol/bbs.md §4.2, §4.4). */
export function imageFindings(image: {
  cachedDependencies: readonly CachedDependency[];
  imageLayers: readonly ImageLayer[];
  legacyDownloadUser: string;
}): Findings {
  const needsUser = image.imageLayers.some(({ layerType }) => layerType === ImageLayerType.EXCLUSIVE);
  return [
    ...image.cachedDependencies.flatMap((item) => within('cached_dependency', dependencyFindings(item))),
    ...image.imageLayers.flatMap((layer) => within('image_layer', layerFindings(layer))),
    ...when(needsUser && image.legacyDownloadUser === '', 'legacy_download_user'),
  ];
}

/** Both or neither. */
export function credentialFindings(image: { imageUsername: string; imagePassword: string }): Findings {
  return [
    ...when(image.imageUsername === '' && image.imagePassword !== '', 'image_username'),
    ...when(image.imageUsername !== '' && image.imagePassword === '', 'image_password'),
  ];
}

function dependencyFindings(dependency: CachedDependency): Findings {
  return [
    ...when(dependency.from === '', 'from'),
    ...when(dependency.to === '', 'to'),
    ...checksumFindings(dependency),
  ];
}

/** A digest without an algorithm is told twice, as upstream does. */
function layerFindings(layer: ImageLayer): Findings {
  const isExclusive = layer.layerType === ImageLayerType.EXCLUSIVE;
  const hasDigest = layer.digestValue !== '';
  const namesAlgorithm = layer.digestAlgorithm !== ImageLayerDigestAlgorithm.DigestAlgorithmInvalid;
  return [
    ...when(layer.url === '', 'url'),
    ...when(layer.destinationPath === '', 'destination_path'),
    ...when(!layerTypes.includes(layer.layerType), 'layer_type'),
    ...when(!mediaTypes.includes(layer.mediaType), 'media_type'),
    ...when((hasDigest || isExclusive) && !namesAlgorithm, 'digest_algorithm'),
    ...when((namesAlgorithm || isExclusive) && !hasDigest, 'digest_value'),
    ...when(hasDigest && !digestAlgorithms.includes(layer.digestAlgorithm), 'digest_algorithm'),
  ];
}
