"""The page at /: drop a picture on it and look at the result."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Objects in a picture</title>
<style>
  body { font: 16px system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
  label.drop { display: block; padding: 2rem; border: 2px dashed #888; border-radius: .5rem;
    text-align: center; cursor: pointer; }
  label.drop.over, label.drop:focus-within { border-color: #06c; background: #eef5ff; }
  input[type=file] { position: absolute; opacity: 0; }
  img { max-width: 100%; margin-top: 1rem; }
  #status { min-height: 1.5em; }
  #status.error { color: #b00020; }
</style>
<h1>Objects in a picture</h1>
<label class="drop" id="drop">Drop a picture here, or choose a file
  <input type="file" id="file" accept="image/*"></label>
<p><label>Lowest score <input type="range" id="score" min="0" max="1" step="0.05" value="0.5">
  <output id="shown">0.5</output></label></p>
<p id="status" role="status"></p>
<img id="result" alt="" hidden>
<script>
const get = id => document.getElementById(id);
let last = null;
async function detect(file) {
  if (!file) return;
  last = file;
  const status = get("status"), image = get("result");
  status.className = "";
  status.textContent = "Looking at " + file.name + " ...";
  image.hidden = true;
  const began = performance.now();
  try {
    const url = "detect?format=overlay&score=" + get("score").value;
    const answer = await fetch(url, {method: "POST", body: file});
    if (!answer.ok) throw new Error((await answer.json()).error);
    const count = answer.headers.get("x-detections");
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(await answer.blob());
    image.alt = count + " objects found in " + file.name;
    image.hidden = false;
    status.textContent = count + " objects, " +
      ((performance.now() - began) / 1000).toFixed(1) + " s";
  } catch (error) {
    status.className = "error";
    status.textContent = error.message;
  }
}
const drop = get("drop");
for (const name of ["dragover", "dragleave", "drop"])
  drop.addEventListener(name, event => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") detect(event.dataTransfer.files[0]);
  });
get("file").addEventListener("change", event => detect(event.target.files[0]));
get("score").addEventListener("input", event => { get("shown").value = event.target.value; });
get("score").addEventListener("change", () => detect(last));
</script>
"""
