plugins {
    alias(libs.plugins.android.application)
}

// Gradle's property for each folder that CMake must be told; gradle.properties says what is in them.
val nativeFolders = mapOf(
    "flashneuron.executorch" to "FLASHNEURON_EXECUTORCH",
    "flashneuron.highway" to "FLASHNEURON_HIGHWAY",
    "flashneuron.python" to "Python3_EXECUTABLE",
)

android {
    namespace = "io.flashneuron.app"
    compileSdk = 36
    ndkVersion = libs.versions.ndk.get()

    defaultConfig {
        applicationId = "io.flashneuron.app"
        minSdk = 29
        targetSdk = 36
        versionCode = 1
        versionName = "0.3.0"
        ndk {
            abiFilters += "arm64-v8a"
        }
        externalNativeBuild {
            cmake {
                targets += "flashneuron_jni"
                arguments += listOf(
                    "-DANDROID_STL=c++_shared",
                    "-DANDROID_SUPPORT_FLEXIBLE_PAGE_SIZES=ON",
                    "-DFLASHNEURON_TESTS=OFF",
                )
                arguments += nativeFolders.mapNotNull { (property, variable) ->
                    providers.gradleProperty(property).orNull?.let { "-D$variable=$it" }
                }
            }
        }
    }
    externalNativeBuild {
        cmake {
            path = file("../../device_runtime/CMakeLists.txt")
            version = libs.versions.cmake.get()
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation(project(":core"))
}
