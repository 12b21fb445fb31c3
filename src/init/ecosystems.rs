//! What package managers and build tools leave in a repository, and what they keep on a
//! machine that is worth a cache.
//!
//! Locations are the tools' documented defaults on Linux and macOS, with the variable
//! that moves them. Where a tool's files are not found by it again unless they are the
//! very same, a lock file is what decides; where it takes what it can use, the newest
//! cache of another key is a good start.

/// A tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ecosystem {
    /// What the cache is called.
    pub(super) name: &'static str,
    /// What it holds, for people.
    pub(super) about: &'static str,
    /// Names of files that tell that the tool is used; `*` stands for any letters.
    pub(super) markers: &'static [&'static str],
    /// Globs of the files that decide what the cache holds, if those are more than the
    /// markers.
    pub(super) hashed: &'static [&'static str],
    pub(super) places: &'static [Place],
    pub(super) excludes: &'static [&'static str],
    /// Advice for whoever edits the file.
    pub(super) notes: &'static [&'static str],
}

/// A directory that a tool keeps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The variable that says where it is.
    pub(super) variable: Option<&'static str>,
    /// The variable that counts where that one is not set, and what follows its value;
    /// the default stands for its value, too.
    pub(super) second: Option<(&'static str, &'static str)>,
    /// What follows the variable's value, or the default's.
    pub(super) below: &'static str,
    /// Where it is on Linux.
    pub(super) default: &'static str,
    /// Where it is on macOS, if that is elsewhere.
    pub(super) macos: Option<&'static str>,
    /// Whether it lies beside each marker, and not once on the machine.
    pub(super) is_beside_marker: bool,
}

const fn at(default: &'static str) -> Place {
    Place { variable: None, second: None, below: "", default, macos: None, is_beside_marker: false }
}

const fn by(variable: &'static str, default: &'static str) -> Place {
    Place { variable: Some(variable), ..at(default) }
}

const fn beside(default: &'static str) -> Place {
    Place { is_beside_marker: true, ..at(default) }
}

/// A directory in the user's cache directory.
const fn cached(variable: &'static str, name: &'static str) -> Place {
    by(variable, "~/.cache").on_macos("~/Library/Caches").or("XDG_CACHE_HOME", name)
}

impl Place {
    /// The same, where another variable says what it lies below.
    const fn or(self, variable: &'static str, below: &'static str) -> Self {
        Self { second: Some((variable, below)), ..self }
    }

    const fn moved_by(self, variable: &'static str) -> Self {
        Self { variable: Some(variable), ..self }
    }

    const fn below(self, below: &'static str) -> Self {
        Self { below, ..self }
    }

    const fn on_macos(self, place: &'static str) -> Self {
        Self { macos: Some(place), ..self }
    }
}

const fn tool(
    name: &'static str,
    about: &'static str,
    markers: &'static [&'static str],
    places: &'static [Place],
) -> Ecosystem {
    Ecosystem { name, about, markers, hashed: &[], places, excludes: &[], notes: &[] }
}

/// All that are known.
pub(super) const ECOSYSTEMS: [Ecosystem; 27] = [
    Ecosystem {
        notes: &[
            "To keep node_modules instead, name it here, and run `npm ci` only when",
            "`larder restore` did not find this very key: `npm ci` begins by deleting it.",
        ],
        // Every run of npm adds to them.
        excludes: &["_logs/", "_update-notifier-last-checked"],
        ..tool(
            "npm",
            "what npm downloaded",
            &["package-lock.json", "npm-shrinkwrap.json"],
            &[by("npm_config_cache", "~/.npm").or("NPM_CONFIG_CACHE", "")],
        )
    },
    Ecosystem {
        notes: &["`pnpm store path` says where it is: on another disk than ~, that is elsewhere."],
        ..tool(
            "pnpm",
            "the store of pnpm",
            &["pnpm-lock.yaml"],
            &[by("PNPM_HOME", "~/.local/share/pnpm").below("/store").on_macos("~/Library/pnpm")],
        )
    },
    tool(
        "yarn",
        "what yarn downloaded: of its versions 1, and 2 and later",
        &["yarn.lock"],
        &[
            by("YARN_CACHE_FOLDER", "~/.cache/yarn").on_macos("~/Library/Caches/Yarn"),
            at("~/.yarn/berry/cache"),
            beside(".yarn/cache"),
        ],
    ),
    tool(
        "bun",
        "what bun downloaded",
        &["bun.lock", "bun.lockb"],
        &[by("BUN_INSTALL_CACHE_DIR", "~/.bun/install/cache")],
    ),
    tool("deno", "what deno downloaded", &["deno.lock"], &[cached("DENO_DIR", "/deno")]),
    tool(
        "cargo",
        "crates that cargo downloaded",
        &["Cargo.lock"],
        &[
            by("CARGO_HOME", "~/.cargo").below("/registry/index"),
            by("CARGO_HOME", "~/.cargo").below("/registry/cache"),
            by("CARGO_HOME", "~/.cargo").below("/git/db"),
        ],
    ),
    Ecosystem {
        hashed: &["**/Cargo.lock", "**/rust-toolchain", "**/rust-toolchain.toml"],
        excludes: &["incremental/"],
        notes: &[
            "If jobs build with other features, profiles or targets, let the key say so, such",
            "as by {{ env(\"CI_JOB_NAME\") }}.",
        ],
        ..tool(
            "target",
            "what cargo built",
            &["Cargo.lock"],
            &[beside("target").moved_by("CARGO_TARGET_DIR")],
        )
    },
    Ecosystem {
        hashed: &["**/go.sum", "**/go.mod"],
        ..tool(
            "go",
            "modules that go downloaded, and what it built",
            &["go.sum", "go.mod"],
            &[by("GOMODCACHE", "~/go").or("GOPATH", "/pkg/mod"), cached("GOCACHE", "/go-build")],
        )
    },
    tool(
        "maven",
        "Maven's local repository",
        &["pom.xml"],
        &[at("~/.m2/repository"), at("~/.m2/wrapper")],
    ),
    Ecosystem {
        hashed: &[
            "**/*.gradle",
            "**/*.gradle.kts",
            "**/gradle-wrapper.properties",
            "**/libs.versions.toml",
            "**/gradle.lockfile",
        ],
        // What running daemons hold, and what dates the last clean-up.
        excludes: &["*.lock", "gc.properties"],
        ..tool(
            "gradle",
            "Gradle's dependencies, build cache and wrapper",
            &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
            &[
                by("GRADLE_USER_HOME", "~/.gradle").below("/caches"),
                by("GRADLE_USER_HOME", "~/.gradle").below("/wrapper"),
            ],
        )
    },
    Ecosystem {
        hashed: &["**/build.sbt", "**/project/*.sbt", "**/project/build.properties"],
        ..tool(
            "sbt",
            "what sbt and coursier downloaded",
            &["build.sbt"],
            &[
                by("COURSIER_CACHE", "~/.cache/coursier").on_macos("~/Library/Caches/Coursier"),
                at("~/.ivy2/cache"),
                at("~/.sbt/boot"),
            ],
        )
    },
    Ecosystem {
        hashed: &["**/requirements*.txt"],
        ..tool(
            "pip",
            "what pip downloaded and built",
            &["requirements*.txt"],
            &[cached("PIP_CACHE_DIR", "/pip")],
        )
    },
    tool(
        "pipenv",
        "what pipenv downloaded",
        &["Pipfile.lock"],
        &[cached("PIPENV_CACHE_DIR", "/pipenv"), cached("PIP_CACHE_DIR", "/pip")],
    ),
    tool(
        "poetry",
        "what Poetry downloaded, and its environments",
        &["poetry.lock"],
        &[cached("POETRY_CACHE_DIR", "/pypoetry")],
    ),
    tool("pdm", "what PDM downloaded", &["pdm.lock"], &[cached("PDM_CACHE_DIR", "/pdm")]),
    Ecosystem {
        notes: &["`uv cache prune --ci` before the save leaves out what is downloaded as fast."],
        ..tool(
            "uv",
            "what uv downloaded and built",
            &["uv.lock"],
            &[by("UV_CACHE_DIR", "~/.cache").or("XDG_CACHE_HOME", "/uv")],
        )
    },
    Ecosystem {
        notes: &["`bundle config set path vendor/bundle` has bundler install there."],
        ..tool(
            "bundler",
            "installed gems",
            &["Gemfile.lock"],
            &[by("BUNDLE_PATH", "vendor/bundle")],
        )
    },
    tool(
        "composer",
        "what Composer downloaded",
        &["composer.lock"],
        // Below its home, where there are no directories of XDG: as in containers.
        &[
            cached("COMPOSER_CACHE_DIR", "/composer"),
            by("COMPOSER_HOME", "~/.composer").below("/cache"),
        ],
    ),
    Ecosystem {
        hashed: &["**/packages.lock.json", "**/*.csproj", "**/*.fsproj", "**/*.vbproj"],
        ..tool(
            "nuget",
            "NuGet's packages",
            &["packages.lock.json", "*.csproj", "*.fsproj", "*.vbproj"],
            &[by("NUGET_PACKAGES", "~/.nuget/packages")],
        )
    },
    tool(
        "pub",
        "packages of Dart and Flutter",
        &["pubspec.lock"],
        &[by("PUB_CACHE", "~/.pub-cache")],
    ),
    tool("cocoapods", "installed pods", &["Podfile.lock"], &[beside("Pods")]),
    tool(
        "swift",
        "what Swift's package manager fetched and built",
        &["Package.resolved"],
        &[beside(".build")],
    ),
    tool(
        "mix",
        "dependencies of Elixir, and what mix built",
        &["mix.lock"],
        &[beside("deps"), beside("_build")],
    ),
    tool(
        "stack",
        "what Haskell's stack fetched and built",
        &["stack.yaml.lock"],
        &[by("STACK_ROOT", "~/.stack"), beside(".stack-work")],
    ),
    tool(
        "terraform",
        "providers that terraform downloaded",
        &[".terraform.lock.hcl"],
        // Without a variable or a setting there is none but in the directory itself.
        &[by("TF_PLUGIN_CACHE_DIR", "~/.terraform.d/plugin-cache"), beside(".terraform/providers")],
    ),
    tool(
        "pre-commit",
        "environments of pre-commit's hooks",
        &[".pre-commit-config.yaml"],
        &[by("PRE_COMMIT_HOME", "~/.cache").or("XDG_CACHE_HOME", "/pre-commit")],
    ),
    tool(
        "conan",
        "packages of C and C++",
        &["conan.lock", "conanfile.txt", "conanfile.py"],
        &[by("CONAN_HOME", "~/.conan2").below("/p")],
    ),
];
