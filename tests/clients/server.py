"""`hone serve` as a context: a process, its address, and its end."""
import contextlib
import pathlib
import subprocess
import tempfile
import time


@contextlib.contextmanager
def serve(hone, model, *flags):
    with tempfile.TemporaryDirectory() as work:
        address = pathlib.Path(work) / "address"
        process = subprocess.Popen([hone, "serve", "--model", model, "--model_name", "served", "--listen", "127.0.0.1:0", "--address_file", str(address),
                                    *flags])
        try:
            while not address.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"hone serve ended with {process.returncode}")
                time.sleep(0.1)
            yield f"http://{address.read_text().strip()}/v1"
        finally:
            process.terminate()
            if process.wait(timeout=60) != 0:
                raise RuntimeError(f"hone serve ended with {process.returncode}")
