import { failureText } from '../../../../http/failure.js';
import { TransferClient } from '../../../../http/transfer-client.js';
import { ImageError } from '../../../errors.js';
import type { PreloadedReference } from '../image-reference.js';
import { hostLayer } from './host-path.js';
import { chainId, type ImageSource } from './image-source.js';

/** Where the executor puts what lies in the layer, for tools that look at an image's annotations. */
const baseDirectoryAnnotation = 'org.cloudfoundry.experimental.image.base-directory';

/**
 * An image on the host with a fetched layer over it: how the executor runs droplets as layers
 * (docs/protocol/containers.md §3.1).
 *
 * @throws InvalidSpecError when the base is not there
 */
export async function preloadedImage(
  { path, layer }: PreloadedReference,
  options: { isCopied: boolean },
): Promise<ImageSource> {
  const base = await hostLayer(path, options);
  const below =
    base.kind === 'directory' ? chainId(undefined, ['in place', path, base.identity].join('\0')) : base.chainId;
  const archive = {
    name: `layer sha256:${layer.sha256}`,
    sha256: layer.sha256,
    beneath: layer.directory,
    open: (signal: AbortSignal) => fetched(layer.url, signal),
  };
  return {
    layers: [base, { kind: 'archive', chainId: chainId(below, `sha256:${layer.sha256} ${layer.directory}`), archive }],
    env: [],
    annotations: { [baseDirectoryAnnotation]: layer.directory },
  };
}

async function* fetched(url: URL, signal: AbortSignal): AsyncGenerator<Buffer> {
  const client = new TransferClient();
  try {
    const answer = await client.request(url, { method: 'GET', signal });
    if (answer.status !== 200) throw new ImageError(`${answer.url.host} answers with status ${answer.status}`);
    yield* answer.body as AsyncIterable<Buffer>;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ImageError) throw error;
    throw new ImageError(`it cannot be fetched: ${failureText(error, url)}`, { cause: error });
  } finally {
    await client.close();
  }
}
