# What both expressions here stand on: this machine, inputs by hash, a shell that is itself one.
{ system, seedSha256 }:

rec {
  hosts = {
    x86_64-linux = { architecture = "amd64"; triplet = "x86_64-linux-gnu"; loader = "ld-linux-x86-64.so.2"; };
    aarch64-linux = { architecture = "arm64"; triplet = "aarch64-linux-gnu"; loader = "ld-linux-aarch64.so.1"; };
  };
  host = hosts.${system};

  # A file of a lock, as the fixed-output path that `fetch` put into the store.
  input = name: sha256: mode: derivation {
    inherit name system;
    builder = "/missing-input-run-buildkit-fetch";
    outputHash = sha256;
    outputHashAlgo = "sha256";
    outputHashMode = mode;
  };
  seed = input "seed" seedSha256 "recursive";

  shell = name: environment: script: derivation ({
    inherit name system;
    builder = "${seed}/bin/busybox";
    args = [ "sh" "-euc" script ];
    PATH = "${seed}/bin";
  } // environment);

  # Debian packages unpacked into one merged-/usr tree; of those in `partial` only `members`.
  tree = name: debs: partial: members:
    shell name { inherit debs partial members; } (builtins.readFile ./tree.sh);
}
