# The flake's outputs: what the library builds, from the locks in this tree, under names for
# people. Same expressions, same inputs: so the same store paths.
let
  root = ../.;
  systems = [ "x86_64-linux" "aarch64-linux" ];

  lockOf = folder: root + "/recipes/${folder}/recipe.lock";
  folders = builtins.filter (folder: builtins.pathExists (lockOf folder))
    (builtins.attrNames (builtins.readDir (root + "/recipes")));

  # `part system folder` is an attribute set of one recipe; all of them, each name after its folder.
  of = system: part: builtins.listToAttrs (builtins.concatLists (map
    (folder: let found = part (recipe system folder); in map
      (name: { name = "${folder}-${name}"; value = found.${name}; })
      (builtins.attrNames found))
    folders));
  forSystems = part: builtins.listToAttrs
    (map (system: { name = system; value = of system part; }) systems);

  recipe = system: folder: rec {
    lock = builtins.fromJSON (builtins.readFile (lockOf folder));
    document = lock.recipe.document;
    made = import ./default.nix {
      arguments = {
        inherit system lock;
        sources = {
          lock = lockOf folder;
          pack = root + "/buildkit/image/pack";
          prepare = root + "/buildkit/model/prepare";
        };
      };
    };
    # Another flake's builder, or a model in a store, is not in this tree: what stands on it can
    # only be built by the library.
    ownBuilder = !(document ? builder);
    ownModel = ownBuilder && !(document.model ? artifact);
    lockFile = builtins.path { name = "recipe.lock"; path = lockOf folder; };
    layers = builtins.listToAttrs (builtins.concatLists (map
      (platform: map
        (kind: {
          name = "layer-${kind}-${baseNameOf platform}";
          value = made.layers.${platform}.${kind};
        }) [ "debian" "python" ])
      document.platforms));
    seen = builtins.listToAttrs (map
      (platform: {
        name = "seen-${baseNameOf platform}";
        value = made.layers.${platform}.seen;
      })
      document.platforms);
  };

  when = condition: set: if condition then set else { };

  packages = { made, layers, seen, ownBuilder, ownModel, ... }:
    { inherit (made) engine syft tools; }
    // when ownBuilder (layers // seen // { inherit (made) builder; })
    // when ownModel {
      inherit (made) build;
      model = made.model.quantised;
      model-float = made.model.float;
      model-accuracy = made.model.accuracy;
    };

  checks = { made, layers, lockFile, ownBuilder, ownModel, ... }:
    {
      tools = made.shell "check-tools" { } ''
        ${program made "oras"} version | tee $out
        ${program made "cosign"} version 2>&1 | tee -a $out
        ${made.syft}/bin/syft version | tee -a $out
      '';
    }
    // when ownBuilder {
      layers = made.python made.pack "check-layers" { }
        ([ "${./checks.py}" "layers" ] ++ map (layer: "${layer}") (builtins.attrValues layers)
          ++ [ "--out" (placeholder "out") ]);
    }
    // when ownModel {
      model = made.python made.prepare "check-model" { } ([
        "${./checks.py}" "model"
        "--out" (placeholder "out")
        "--lock" lockFile
        "--float" "${made.model.float}"
        "--quantised" "${made.model.quantised}"
        "--accuracy" "${made.model.accuracy}"
      ] ++ (if made.model.ranges == null then [ ] else [ "--ranges" "${made.model.ranges}" ]));
    };

  # A program of the pinned tools, with the C library of its own Debian release.
  program = made: name: let library = "${made.tools}/usr/lib/${made.host.triplet}"; in
    "${library}/${made.host.loader} --library-path ${library} ${made.tools}/usr/bin/${name}";

  app = made: name: about: command: {
    type = "app";
    meta.description = about;
    program = "${made.shell name {
      inherit command;
      passAsFile = [ "command" ];
    } ''
      mkdir -p $out/bin
      { echo "#!${made.seed}/bin/sh"; cat $commandPath; } > $out/bin/${name}
      chmod 755 $out/bin/${name}
    ''}/bin/${name}";
  };

  apps = { made, ownBuilder, ... }:
    builtins.listToAttrs (map
      (name: {
        inherit name;
        value = app made name "the pinned ${name}" "exec ${program made name} \"$@\"\n";
      }) [ "cosign" "docker" "oras" ])
    // { syft = app made "syft" "the pinned syft" "exec ${made.syft}/bin/syft \"$@\"\n"; }
    // when ownBuilder {
      # One stage of the model's preparation, as it runs in the sandbox, on files of one's own.
      prepare = app made "prepare" "one stage of the model's preparation" ''
        export PYTHONHOME=${made.interpreter.home} PYTHONHASHSEED=0
        export PYTHONPATH=${builtins.concatStringsSep ":" ([ "${made.prepare}" ] ++ made.interpreter.path)}
        exec ${builtins.concatStringsSep " " made.interpreter.command} -B -m prepare "$@"
      '';
    };
in {
  packages = forSystems packages;
  checks = forSystems checks;
  apps = forSystems apps;
}
