# The way of a model: source, optimised float graph, ranges, quantised file, accuracy.
# Each stage is a derivation of its own, so a change runs only what comes after it.
{ lock, lockFile, recipe, python, json, beside, artifact }:

let
  spec = recipe.model;
  settings = json "settings.json" (spec.prepare // { calibration = spec.calibration or null; });

  stage = name: words: python "model-${name}" { }
    ([ "-m" "prepare" name "--settings" settings "--out" (placeholder "out") ] ++ words);

  trained = python "model-trained" {
    SEED = toString spec.train.seed;
    script = spec.train.script;
    # Path in the recipe's folder → store path.
    files = builtins.toJSON (builtins.listToAttrs (map (path: { name = path; value = "${beside.${path}}"; })
      ([ spec.train.script ] ++ spec.train.inputs)));
  } [ "-m" "prepare" "train" "--out" (placeholder "out") ];

  source =
    if spec ? train then "${trained}/model.onnx"
    else if spec ? file then "${beside.${spec.file.path}}"
    else artifact;

  # Data is a file beside the recipe, or one that the training script wrote.
  data = path: let made = builtins.match "train:(.*)" path; in
    if made == null then "${beside.${path}}" else "${trained}/${builtins.head made}";

  float = python "model-float" { }
    [ "-m" "prepare" "import" "--model" source "--out" (placeholder "out") ];
  prepared = stage "optimise" [ "--model" "${float}/model.onnx" ];

  static = spec.prepare.quantization == "static-int8";
  ranges =
    if static then stage "calibrate" [
      "--model" "${prepared}/prepared.onnx"
      "--data" (data spec.calibration.data)
    ] else null;
  quantised = stage "quantise" ([ "--model" "${prepared}/prepared.onnx" ]
    ++ (if static then [ "--ranges" lockFile ] else [ ]));
  golden = data spec.golden.data;
  accuracy = stage "check" [
    "--float" "${float}/model.onnx"
    "--quantised" "${quantised}/model.onnx"
    "--data" golden
  ];
in { inherit float prepared ranges quantised golden accuracy; }
