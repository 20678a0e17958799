/** The API for web pages: the decoder in workers, its errors, and PNG files. */

export { DfmClient } from "./src/client.js";
export { DfmError } from "./src/errors.js";
export { encodePng } from "./src/png.js";
